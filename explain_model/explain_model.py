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
from pipeline.errors import UserError, run
from pipeline.index import read_index
from pipeline.outputs import aside, write_csv
from pipeline.params import PathFlag, SwitchFlag, load_params, read_command_line, setting
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

AS_MADE = "maps_as_made"

Row = dict[str, Any]


@dataclass(frozen=True)
class Params:
    method: str = setting("how maps are made", choices=tuple(METHODS))
    batch_size: int = setting("crops explained at once", low=1)
    opacity: float = setting("of the heatmap over the face, where it is strongest", low=0, high=1)
    seed: int = setting("of all that is drawn at random", low=0)
    threads: int = setting("of the processor", low=1)
    device: str = setting("where the network runs", choices=DEVICES)


Asked = tuple[Crop, bool]  # what spoke for fake in it, or for real?
Face = tuple[np.ndarray, Heat]


def explained(network: Network, asked: Sequence[Asked | None], params: Params, failures: list[Row]) -> Iterator[Face | None]:
    """Each crop with its heat, None where there is none to read; a batch at a time, so that memory does not grow with them."""
    for first in range(0, len(asked), params.batch_size):
        batch = asked[first : first + params.batch_size]
        pictures = [one and _picture(one[0], failures) for one in batch]
        known = [(picture, one[1]) for picture, one in zip(pictures, batch, strict=True) if one and picture is not None]
        faces, as_fake = [picture for picture, _ in known], [is_fake for _, is_fake in known]
        heats = iter(heatmaps(network, faces, as_fake, params.method) if known else ())
        yield from (None if picture is None else (picture, next(heats)) for picture in pictures)


def _picture(crop: Crop, failures: list[Row]) -> np.ndarray | None:
    try:
        return read_crop(crop.path)
    except UnreadableCrop as error:
        failures.append({"video": crop.video, "crop": crop.name, "reason": str(error)})
        return None


def explain_model(
    network: Network,
    samples: Sequence[ExplainedSample],
    originals: dict[str, Crop],
    output: Path,
    params: Params,
    warning: str | None,
    save_maps: bool = False,
) -> tuple[int, int]:
    """Writes maps and figures of each sample, and the table of them all; returns how many there are, and how many failed."""
    rows: list[Row] = []
    failures: list[Row] = []
    figure, pair_figure = SampleFigure(params.opacity, warning), PairFigure(params.opacity, warning)
    faces = explained(network, [(s.crop, s.called_fake) for s in samples], params, failures)
    beside = explained(network, [(originals[s.name], True) if s.name in originals else None for s in samples], params, failures)
    each = track(zip(samples, faces, beside, strict=True), len(samples), "explaining", "faces")
    for sample, face, original in each:
        if face is None:
            continue
        crop, heat = face
        mask = true_mask(sample)
        arrays = {"maps": heat.spoke_for, "maps_against": heat.spoke_against} | ({AS_MADE: heat.as_made} if save_maps else {})
        for folder, array in arrays.items():
            with aside(output / folder / f"{sample.name}.npy") as unfinished:
                np.save(unfinished, array)
        figure.draw(output / _figure_of(sample), sample, crop, heat, mask)
        if original:
            of_fake = heat.spoke_for if sample.called_fake else heat.spoke_against
            pair = (original[0], crop), (original[1].spoke_for, of_fake)
            pair_figure.draw(output / _pair_of(sample), sample, *pair, mask)
        rows.append(_row(sample, heat, mask, has_pair=original is not None))
    write_csv(output / "explanations.csv", COLUMNS, rows)
    write_csv(output / "failures.csv", FAILURE_COLUMNS, failures)
    return len(rows), len(failures)


def _figure_of(sample: ExplainedSample) -> str:
    return f"figures/{sample.name}.png"


def _pair_of(sample: ExplainedSample) -> str:
    return f"pairs/{sample.name}.png"


def _row(sample: ExplainedSample, heat: Heat, mask: np.ndarray | None, has_pair: bool) -> Row:
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
        "figure": _figure_of(sample),
        "pair": _pair_of(sample) if has_pair else "",
        "map": f"maps/{sample.name}.npy",
        "map_against": f"maps_against/{sample.name}.npy",
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
        save_maps=SwitchFlag(f"keep each map also as its method made it, unscaled, in {AS_MADE}; the published one as 32x32"),
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
    done, failed = explain_model(network, samples, originals, output, params, checkpoint.warning, paths.save_maps)
    print(f"{done} faces explained in {output}, by {METHODS[params.method].words}")
    if failed:
        print(f"{failed} pictures are missing or broken; {output / 'failures.csv'} says which and why")
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
