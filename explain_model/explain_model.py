"""Stage explain: the samples that test chose -> for each its heatmaps as data, and figures of them.

Reads results/tests and the checkpoint, writes results/explanation. Where there is a folder `examples`, as in the published
way, it explains the pictures in it.
"""

from pathlib import Path

# Run from inside its folder, this file hides the package of the same name: then it stands in for the package.
__path__ = [str(Path(__file__).parent)]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explain_model.figure import PairFigure, SampleFigure
from explain_model.heatmaps import Heat, confidence, heatmaps, peak
from explain_model.maps import METHODS, method_for
from explain_model.samples import EXAMPLES, ExplainedSample, originals_beside, read_examples, read_samples, true_mask
from model_test_train import testing
from model_test_train.checkpoint import load_checkpoint
from model_test_train.networks.network import Network
from model_test_train.testing import rule_of
from model_test_train.verdicts import FAKE_VERDICT
from pipeline.errors import UserError, run
from pipeline.index import read_index
from pipeline.outputs import aside, write_csv
from pipeline.params import PathFlag, load_params, read_command_line, setting
from pipeline.progress import track
from pipeline.project import from_root
from pipeline.reproducible import DEVICES, choose_device, seed_everything
from preprocessing.crop_stores import UnreadableCrop, read_crop
from preprocessing.crops import Crop, read_crops

COLUMNS = (
    "video",
    "method",
    "label",
    "verdict",
    "outcome",
    "video_probability",
    "frame_probability",
    "frame",
    "track",
    "confidence",
    "peak_x",
    "peak_y",
    "peak_in_mask",
    "mask_share",
    "figure",
    "pair",
    "map",
    "map_against",
)
FAILURE_COLUMNS = ("video", "crop", "reason")

Row = dict[str, Any]


@dataclass(frozen=True)
class Params:
    method: str = setting("how maps are made", choices=tuple(METHODS))
    batch_size: int = setting("crops explained at once", low=1)
    opacity: float = setting("of the heatmap over the face, where it is strongest", low=0, high=1)
    seed: int = setting("of all that is drawn at random", low=0)
    threads: int = setting("of the processor", low=1)
    device: str = setting("where the network runs", choices=DEVICES)


@dataclass(frozen=True)
class Explained:
    """A sample, its crop and its maps; of a fake whose original is at hand, that one's too."""

    sample: ExplainedSample
    crop: np.ndarray
    heat: Heat
    original: tuple[np.ndarray, Heat] | None


def explained(
    network: Network,
    samples: Sequence[ExplainedSample],
    originals: dict[str, Crop],
    params: Params,
    failures: list[Row],
) -> Iterator[Explained | None]:
    """Each sample, or None if its picture is missing or broken; a batch at a time, so that memory does not grow with them."""
    for first in range(0, len(samples), params.batch_size):
        batch = samples[first : first + params.batch_size]
        pictures = [_picture(sample, sample.crop, failures) for sample in batch]
        beside = [_picture(sample, originals[sample.name], failures) if sample.name in originals else None for sample in batch]
        asked = [(p, 1.0 if s.verdict == FAKE_VERDICT else -1.0) for p, s in zip(pictures, batch, strict=True) if p is not None]
        asked += [(picture, 1.0) for picture in beside if picture is not None]
        faces, signs = [picture for picture, _ in asked], [sign for _, sign in asked]
        heats = iter(heatmaps(network, faces, signs, params.method) if asked else ())
        of_samples = [None if picture is None else next(heats) for picture in pictures]
        of_originals = [None if picture is None else next(heats) for picture in beside]
        for sample, crop, heat, original, its_heat in zip(batch, pictures, of_samples, beside, of_originals, strict=True):
            if crop is None or heat is None:
                yield None
            else:
                pair = None if original is None or its_heat is None else (original, its_heat)
                yield Explained(sample, crop, heat, pair)


def _picture(sample: ExplainedSample, crop: Crop, failures: list[Row]) -> np.ndarray | None:
    try:
        return read_crop(crop.path)
    except UnreadableCrop as error:
        failures.append({"video": sample.video.video, "crop": crop.name, "reason": str(error)})
        return None


def explain_model(
    network: Network,
    samples: Sequence[ExplainedSample],
    originals: dict[str, Crop],
    output: Path,
    params: Params,
    warning: str | None,
) -> tuple[int, int]:
    """Writes maps and figures of each sample, and the table of them all; returns how many there are, and how many failed."""
    rows: list[Row] = []
    failures: list[Row] = []
    figure, pair_figure = SampleFigure(params.opacity, warning), PairFigure(params.opacity, warning)
    each = explained(network, samples, originals, params, failures)
    for one in track(each, len(samples), "explaining", "faces"):
        if one is None:
            continue
        sample, heat, mask = one.sample, one.heat, true_mask(one.sample)
        paths = {folder: output / folder / f"{sample.name}.png" for folder in ("figures", "pairs")}
        paths |= {folder: output / folder / f"{sample.name}.npy" for folder in ("maps", "maps_against")}
        for folder, array in (("maps", heat.spoke_for), ("maps_against", heat.spoke_against)):
            with aside(paths[folder]) as unfinished:
                np.save(unfinished, array)
        figure.draw(paths["figures"], sample, one.crop, heat, mask)
        if one.original:
            original, its_heat = one.original
            of_fake = heat.spoke_for if sample.verdict == FAKE_VERDICT else heat.spoke_against
            pair_figure.draw(paths["pairs"], sample, (original, one.crop), (its_heat.spoke_for, of_fake), mask)
        else:
            del paths["pairs"]
        rows.append(_row(sample, heat, mask, {folder: path.relative_to(output).as_posix() for folder, path in paths.items()}))
    write_csv(output / "explanations.csv", COLUMNS, rows)
    write_csv(output / "failures.csv", FAILURE_COLUMNS, failures)
    return len(rows), len(failures)


def _row(sample: ExplainedSample, heat: Heat, mask: np.ndarray | None, paths: dict[str, str]) -> Row:
    x, y = peak(heat.spoke_for)
    return {
        "video": sample.video.video,
        "method": sample.video.method,
        "label": sample.video.label,
        "verdict": sample.verdict,
        "outcome": sample.outcome,
        "video_probability": sample.video_probability,
        "frame_probability": sample.frame_probability,
        "frame": sample.crop.frame,
        "track": sample.crop.track,
        "confidence": round(confidence(heat.spoke_for), 6),
        "peak_x": x,
        "peak_y": y,
        "peak_in_mask": "" if mask is None else bool(mask[y, x]),
        "mask_share": "" if mask is None else round(float(mask.mean()), 6),
        "figure": paths["figures"],
        "pair": paths.get("pairs", ""),
        "map": paths["maps"],
        "map_against": paths["maps_against"],
    }


def samples_path(tests: Path) -> Path:
    """The samples table that the stage test left."""
    found = sorted(tests.glob("samples_list_*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{tests} should hold one samples_list_….csv and holds: {names}; name one with --samples")
    return found[0]


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "explain",
        Params,
        model_path=PathFlag("data/models/best.safetensors", "the checkpoint that was tested"),
        examples=PathFlag(None, "a folder of pictures with their samples table, instead of what was tested"),
        samples=PathFlag(None, "which crops to explain: a samples_list_….csv of the tests"),
        tests=PathFlag("results/tests", "what the stage test left"),
        index=PathFlag("data/index/videos.csv", "the index of videos"),
        crops=PathFlag("data/crops", "the crops of its videos"),
        output_path=PathFlag(
            None, "where maps and figures go (default: results/explanation; of examples: explanation, beside them)"
        ),
    )
    seed_everything(params.seed, params.threads)
    network, checkpoint = load_checkpoint(paths.model_path, choose_device(params.device))
    method_for(network, params.method)
    examples = paths.examples or next((place for place in (Path(EXAMPLES).absolute(),) if place.is_dir()), None)
    if examples:
        rule = rule_of(checkpoint, load_params("test", testing.Params))
        samples, originals = read_examples(examples, rule.calibrated(rule.threshold)), {}
        output = paths.output_path or examples.parent / "explanation"
    else:
        videos, crops = read_index(paths.index), read_crops(paths.crops)
        samples = read_samples(paths.samples or samples_path(paths.tests), paths.tests, videos, crops)
        originals = originals_beside(samples, videos, crops)
        output = paths.output_path or from_root("results/explanation")
    done, failed = explain_model(network, samples, originals, output, params, checkpoint.warning)
    print(f"{done} faces explained in {output}, by {METHODS[params.method].words}")
    if failed:
        print(f"{failed} pictures are missing or broken; {output / 'failures.csv'} says which and why")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
