"""Samples: the crops that test chose, one a video, with all that is known of them and the truth where there is one.

Or those of a folder of examples, as the published explanation has them: pictures, and a table of what was found.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_test_train.metrics.verdicts import FAKE_VERDICT, REAL_VERDICT, outcome_of
from pipeline.errors import UserError
from pipeline.index import Video, original_of
from pipeline.project import relative
from preprocessing.crops.crops import Crop
from preprocessing.crops.stores import read_mask

EXAMPLES = "examples"


@dataclass(frozen=True)
class ExplainedSample:
    """A crop to explain, and the verdict it stands for."""

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
    def where(self) -> str:
        """In words."""
        return f"{self.video.video}, frame {self.crop.frame}, person {self.crop.track}"

    @property
    def name(self) -> str:
        """Method/stem_frame_track, of a crop with the usual name."""
        return f"{self.video.video}_{Path(self.crop.name).stem}"


def read_samples(path: Path, tests: Path, videos: list[Video], crops: list[Crop]) -> list[ExplainedSample]:
    """A samples table -> samples; verdicts and probabilities come from the tables of the network's own test."""
    frames = {row["path"]: row for row in read_table(tests / "frames.csv")}
    verdicts = {row["video"]: row for row in read_table(tests / "videos.csv")}
    by_name = {video.video: video for video in videos}
    by_path = {relative(crop.path): crop for crop in crops}
    samples = []
    for row in read_table(path):
        crop_path = f"{row['video_name']}/{row['example_file_name']}"
        if crop_path not in frames or crop_path not in by_path:
            raise UserError(f"{path}: {crop_path} is not among the crops that were tested; `dvc repro test` writes both anew")
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
    """The pictures of a folder that the table in it or beside it lists, with or without the column of short names.

    Verdicts are the table's; what is fake above the threshold was called fake.
    """
    samples = []
    for number, row in enumerate(read_table(examples_table(folder)), 2):
        try:
            name = Path(row.get("example_file_name_short") or row["example_file_name"]).name
            label, of_video, of_frame = (float(row[column]) for column in ("label", "video_prob", "high_low_prob"))
            place = Path(row["video_name"].replace("\\", "/"))
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{examples_table(folder)}, line {number}: {_wrong_with(error)}") from error
        verdict = FAKE_VERDICT if of_video > threshold else REAL_VERDICT
        method = place.parent.name or EXAMPLES
        unknown = {"split": "", "path": "", "mask": "", "content": "", "dataset": ""}
        video = Video(f"{method}/{place.name}", method, int(label), identities=(), made_from=(), **unknown)
        crop = Crop(video.video, *_frame_and_person(name), name, (0, 0, 0, 0), folder)
        samples.append(ExplainedSample(video, crop, of_video, of_frame, verdict, outcome_of(verdict, video.label)))
    return samples


def examples_table(folder: Path) -> Path:
    found = sorted(folder.glob("*.csv")) or sorted(folder.parent.glob("*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{folder} needs one table of its pictures, in it or beside it; there are: {names}")
    return found[0]


def _wrong_with(error: Exception) -> str:
    return f"column {error} is missing" if isinstance(error, KeyError) else str(error)


def _frame_and_person(name: str) -> tuple[int, int]:
    """Of <frame>_<person>.png; 0 where a name says nothing."""
    numbers = Path(name).stem.split("_")
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(n.isdigit() for n in numbers) else (0, 0)


def originals_beside(samples: Sequence[ExplainedSample], videos: Sequence[Video], crops: Sequence[Crop]) -> dict[str, Crop]:
    """For each fake whose original is there, by its sample's name: the original's crop nearest in time."""
    by_name = {video.video: video for video in videos}
    of_video: dict[str, list[Crop]] = {}
    for crop in crops:
        if crop.track == 0:
            of_video.setdefault(crop.video, []).append(crop)
    found = {}
    for sample in samples:
        original = original_of(sample.video, by_name)
        if original and (known := of_video.get(original.video)):
            found[sample.name] = min(known, key=lambda crop: abs(crop.frame - sample.crop.frame))
    return found


def read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise UserError(f"{path} is not there; `dvc repro` writes it")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path} is not there; `dvc repro` makes it")
    return json.loads(path.read_text())


def true_mask(sample: ExplainedSample) -> np.ndarray | None:
    """Which of the crop's pixels were manipulated, as bool; None where no truth is known."""
    return read_mask(sample.crop.mask) if sample.crop.mask else None
