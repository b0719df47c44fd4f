"""Samples: the crops that test chose, one a video, with all that is known of them and the truth where there is one."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import UserError
from pipeline.index import Video
from pipeline.project import relative
from preprocessing.crop_stores import read_mask
from preprocessing.crops import Crop


@dataclass(frozen=True)
class ExplainedSample:
    """A crop to explain, and the verdict it stands for."""

    video: Video
    crop: Crop
    video_probability: float
    frame_probability: float
    verdict: str
    outcome: str

    @property
    def name(self) -> str:
        """Method/stem_frame_track."""
        return f"{self.video.video}_{self.crop.frame}_{self.crop.track}"


def read_samples(path: Path, tests: Path, videos: list[Video], crops: list[Crop]) -> list[ExplainedSample]:
    """The samples table of test -> samples; verdicts come from the tables beside it, never from a path."""
    frames = {row["path"]: row for row in read_table(tests / "frames.csv")}
    verdicts = {row["video"]: row for row in read_table(tests / "videos.csv")}
    by_name = {video.video: video for video in videos}
    by_path = {relative(crop.path): crop for crop in crops}
    samples = []
    for row in read_table(path):
        crop_path = f"{row['video_name']}/{row['example_file_name']}"
        if crop_path not in frames or crop_path not in by_path:
            raise UserError(f"{path}: {crop_path} is not among the crops that were tested; `dvc repro test` writes both anew")
        verdict = verdicts[frames[crop_path]["video"]]
        samples.append(
            ExplainedSample(
                by_name[verdict["video"]],
                by_path[crop_path],
                float(row["video_prob"]),
                float(row["high_low_prob"]),
                verdict["verdict"],
                verdict["outcome"],
            )
        )
    return samples


def read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise UserError(f"{path} is not there; `dvc repro` writes it")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def true_mask(sample: ExplainedSample) -> np.ndarray | None:
    """Which of the crop's pixels were manipulated, as bool; None where no truth is known."""
    return read_mask(sample.crop.mask) if sample.crop.mask else None
