"""Samples to explain: one crop per video, selected by the stage test, with its scores, verdict and ground truth.

Alternatively the pictures of a folder of examples with a table of their scores, as in the published implementation.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explain_deepfakes.model_test_train.metrics.aggregation import FAKE_VERDICT, REAL_VERDICT, outcome_of
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video, original_of
from explain_deepfakes.pipeline.project import relative
from explain_deepfakes.preprocessing.crops.crops import Crop, Window
from explain_deepfakes.preprocessing.crops.stores import read_mask

EXAMPLES = "examples"


@dataclass(frozen=True)
class ExplainedSample:
    """A crop to explain, and the verdict on its video."""

    video: Video
    crop: Crop
    video_probability: float
    frame_probability: float
    verdict: str
    outcome: str
    is_uncertain: bool = False

    @property
    def called_fake(self) -> bool:
        return self.verdict == FAKE_VERDICT

    @property
    def description(self) -> str:
        return f"{self.video.video}, frame {self.crop.frame}, person {self.crop.track}"

    @property
    def name(self) -> str:
        """Method/stem_frame_track for crops of the pipeline."""
        return f"{self.video.video}_{Path(self.crop.name).stem}"


def read_samples(path: Path, tests: Path, videos: list[Video], crops: list[Crop]) -> list[ExplainedSample]:
    """The samples of a table, with verdicts and probabilities from the tables of the network's own test."""
    frames = {row["path"]: row for row in read_table(tests / "frames.csv")}
    verdicts = {row["video"]: row for row in read_table(tests / "videos.csv")}
    by_name = {video.video: video for video in videos}
    by_path = {relative(crop.path): crop for crop in crops}
    samples = []
    for row in read_table(path):
        crop_path = f"{row['video_name']}/{row['example_file_name']}"
        if crop_path not in frames or crop_path not in by_path:
            raise UserError(f"{path}: {crop_path} is not among the tested crops; run `dvc repro test` to write both again")
        frame = frames[crop_path]
        verdict = verdicts[frame["video"]]
        samples.append(
            ExplainedSample(
                by_name[verdict["video"]],
                by_path[crop_path],
                float(verdict["fake_probability"]),
                float(frame["fake_probability"]),
                verdict["verdict"],
                verdict["outcome"],
                verdict["uncertain"] == "True",
            )
        )
    return samples


def read_examples(folder: Path, threshold: float) -> list[ExplainedSample]:
    """The pictures of a folder that the table inside or next to it lists; the column of short names is optional.

    Verdicts follow from the table's probabilities: above the threshold, a video counts as called fake.
    """
    samples = []
    for number, row in enumerate(read_table(find_examples_table(folder)), 2):
        try:
            name = Path(row.get("example_file_name_short") or row["example_file_name"]).name
            label, video_probability, frame_probability = (
                float(row[column]) for column in ("label", "video_prob", "high_low_prob")
            )
            video_path = Path(row["video_name"].replace("\\", "/"))
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{find_examples_table(folder)}, line {number}: {_describe_error(error)}") from error
        verdict = FAKE_VERDICT if video_probability > threshold else REAL_VERDICT
        method = video_path.parent.name or EXAMPLES
        video = Video(
            f"{method}/{video_path.name}", method, int(label), split="", identities=(), path="", mask="", content="", dataset=""
        )
        crop = Crop(video.video, *_frame_and_track(name), name, Window(0, 0, 0, 0), folder)
        outcome = outcome_of(verdict, video.label)
        samples.append(ExplainedSample(video, crop, video_probability, frame_probability, verdict, outcome))
    return samples


def find_examples_table(folder: Path) -> Path:
    tables = sorted(folder.glob("*.csv")) or sorted(folder.parent.glob("*.csv"))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise UserError(f"{folder} needs exactly one CSV table of its pictures, inside or next to it; there are: {names}")
    return tables[0]


def _describe_error(error: Exception) -> str:
    return f"column {error} is missing" if isinstance(error, KeyError) else str(error)


def _frame_and_track(name: str) -> tuple[int, int]:
    """The numbers in <frame>_<track>.png; zeros for other names."""
    numbers = Path(name).stem.split("_")
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(n.isdigit() for n in numbers) else (0, 0)


def match_originals(samples: Sequence[ExplainedSample], videos: Sequence[Video], crops: Sequence[Crop]) -> dict[str, Crop]:
    """By sample name, for each fake whose original is in the corpus: the original's crop that is nearest in time."""
    by_name = {video.video: video for video in videos}
    crops_by_video: dict[str, list[Crop]] = {}
    for crop in crops:
        if crop.track == 0:
            crops_by_video.setdefault(crop.video, []).append(crop)
    matches = {}
    for sample in samples:
        original = original_of(sample.video, by_name)
        if original and (candidates := crops_by_video.get(original.video)):
            matches[sample.name] = min(candidates, key=lambda crop: abs(crop.frame - sample.crop.frame))
    return matches


def read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `dvc repro` to write it")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `dvc repro` to write it")
    return json.loads(path.read_text())


def read_true_mask(sample: ExplainedSample) -> np.ndarray | None:
    """The manipulated pixels of the crop (height, width), bool; None without ground truth."""
    return read_mask(sample.crop.mask) if sample.crop.mask else None
