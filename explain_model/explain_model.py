"""Stage explain: the samples that test chose -> for each a heatmap as data, a figure, and how often the heat was right.

Reads results/tests and the checkpoint, writes results/explanation.
"""

from pathlib import Path

# Run from inside its folder, this file hides the package of the same name: then it stands in for the package.
__path__ = [str(Path(__file__).parent)]

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from explain_model.figure import SampleFigure
from explain_model.heatmaps import confidence, heatmaps, peak
from explain_model.pointing import Pointing, measure_pointing
from explain_model.samples import ExplainedSample, read_samples, true_mask
from model_test_train.checkpoint import load_checkpoint
from model_test_train.networks.network import Network
from model_test_train.verdicts import FAKE_VERDICT
from pipeline.errors import UserError, run
from pipeline.index import read_index
from pipeline.outputs import aside, write_csv, write_json
from pipeline.params import PathFlag, read_command_line, setting
from pipeline.progress import track
from pipeline.reproducible import DEVICES, choose_device, seed_everything
from preprocessing.crop_stores import read_crop
from preprocessing.crops import read_crops

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
    "map",
)


@dataclass(frozen=True)
class Params:
    batch_size: int = setting("crops explained at once", low=1)
    opacity: float = setting("of the heatmap over the face, where it is strongest", low=0, high=1)
    seed: int = setting("of the random places that the heat is compared with", low=0)
    threads: int = setting("of the processor", low=1)
    device: str = setting("where the network runs", choices=DEVICES)


def explained(
    network: Network, samples: list[ExplainedSample], params: Params
) -> Iterator[tuple[ExplainedSample, np.ndarray, np.ndarray]]:
    """Each sample with its crop and heatmap; a batch at a time, so that memory does not grow with the samples."""
    for first in range(0, len(samples), params.batch_size):
        batch = samples[first : first + params.batch_size]
        crops = [read_crop(sample.crop.path) for sample in batch]
        called_fake = [sample.verdict == FAKE_VERDICT for sample in batch]
        yield from zip(batch, crops, heatmaps(network, crops, called_fake), strict=True)


def explain_model(
    network: Network, samples: list[ExplainedSample], output: Path, params: Params, warning: str | None
) -> list[Pointing]:
    """Writes map and figure of each sample and the table of them all; returns what is known of the peaks."""
    rows, pointings = [], []
    figure = SampleFigure(params.opacity, warning)
    for sample, crop, heat in track(explained(network, samples, params), len(samples), "explaining", "faces"):
        mask = true_mask(sample)
        picture_path, map_path = (
            output / folder / f"{sample.name}.{kind}" for folder, kind in (("figures", "png"), ("maps", "npy"))
        )
        with aside(map_path) as unfinished:
            np.save(unfinished, heat)
        with aside(picture_path) as unfinished:
            figure.draw(unfinished, sample, crop, heat, mask)
        pointing = Pointing.of(sample, heat, mask)
        pointings.append(pointing)
        rows.append(_row(sample, heat, pointing, picture_path.relative_to(output), map_path.relative_to(output)))
    write_csv(output / "explanations.csv", COLUMNS, rows)
    return pointings


def _row(sample: ExplainedSample, heat: np.ndarray, pointing: Pointing, figure: Path, map: Path) -> dict[str, Any]:
    x, y = peak(heat)
    known = pointing.mask is not None
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
        "confidence": round(confidence(heat), 6),
        "peak_x": x,
        "peak_y": y,
        "peak_in_mask": pointing.hit if known else "",
        "mask_share": round(pointing.mask_share, 6) if known else "",
        "figure": figure.as_posix(),
        "map": map.as_posix(),
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
        samples=PathFlag(None, "which crops to explain: a samples_list_….csv of the tests"),
        tests=PathFlag("results/tests", "what the stage test left"),
        index=PathFlag("data/index/videos.csv", "the index of videos"),
        crops=PathFlag("data/crops", "the crops of its videos"),
        output_path=PathFlag("results/explanation", "where heatmaps and figures go"),
    )
    seed_everything(params.seed, params.threads)
    network, checkpoint = load_checkpoint(paths.model_path, choose_device(params.device))
    videos, crops = read_index(paths.index), read_crops(paths.crops)
    samples = read_samples(paths.samples or samples_path(paths.tests), paths.tests, videos, crops)
    pointings = explain_model(network, samples, paths.output_path, params, checkpoint.warning)
    found = measure_pointing(pointings, params.seed)
    write_json(paths.output_path / "metrics.json", {"pointing": found})
    print(f"{len(samples)} faces explained in {paths.output_path}")
    if found["count"]:
        print(
            f"of {found['count']} fakes judged right, the heat's peak lies in the manipulated region in "
            f"{found['relevancy']['value']:.0%}; a random place would in {found['random_place']:.0%}, "
            f"the others' mean mask in {found['mean_mask']:.0%}"
        )
    if checkpoint.warning:
        print(checkpoint.warning)


if __name__ == "__main__":
    run(main)
