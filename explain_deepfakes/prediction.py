"""The Python interface: load a detector, and get typed predictions for videos and pictures."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.preprocessing.video.video import UnreadableVideo
from explain_deepfakes.serving.examination.examiner import Examination, Examiner, ScoredFace, ignore_progress
from explain_deepfakes.serving.examination.file_records import file_record
from explain_deepfakes.serving.models.default_model import default_model

ProgressCallback = Callable[[str, int, int], object]  # the current step, how much of it is done, of how much


@dataclass(frozen=True)
class FacePrediction:
    """A person's face in one frame."""

    frame: int
    box: tuple[float, float, float, float]  # left, top, right, bottom of the crop, in pixels of the frame
    fake_probability: float  # before calibration, which applies to people and files
    crop: np.ndarray = field(repr=False)  # RGB, uint8


@dataclass(frozen=True)
class PersonPrediction:
    """The verdict on one person. `reason` says why it is uncertain."""

    track: int
    verdict: str  # real or fake
    is_uncertain: bool
    fake_probability: float
    reason: str | None
    faces: tuple[FacePrediction, ...]


@dataclass(frozen=True)
class Prediction:
    """The verdict on a file. `reason` says why there is none, or why it is uncertain."""

    path: Path
    verdict: str  # real, fake or no verdict
    is_uncertain: bool
    fake_probability: float | None
    reason: str | None
    warning: str | None  # what the detector was trained on, and not tested on
    people: tuple[PersonPrediction, ...]
    _examiner: Examiner = field(repr=False)
    _examination: Examination = field(repr=False)

    def heatmaps(self, report_progress: ProgressCallback = ignore_progress) -> dict[int, list[np.ndarray]]:
        """Compute the heatmaps of each person (by track) for its verdict, in the order of its faces.

        A heatmap is float32 in [0, 1], with the height and width of the face's crop.
        """
        people = self._examiner.explain(self._examination, report_progress)
        return {track: [moment.heat for moment in person.moments] for track, person in people.items()}

    def write_report(self, page: str | os.PathLike[str]) -> None:
        """Write the evidence as an HTML page, and as JSON beside it, like `predict --report`."""
        from explain_deepfakes.serving.examination.evidence import write_evidence  # loads matplotlib

        record = file_record(self._examiner, self._examination)
        write_evidence(Path(page), record, self._examination, self._examiner.explain(self._examination), self._examiner)


@dataclass(frozen=True)
class Detector:
    """A trained detector with all settings of its checkpoint."""

    examiner: Examiner

    @classmethod
    def load(
        cls,
        checkpoint: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        frames: int | None = None,
        demo: bool = False,
    ) -> "Detector":
        """Load a checkpoint, or the .json file of an ensemble. The default is the shipped detector.

        `frames` is the number of frames to sample from a video, if not that of the checkpoint. A checkpoint that was never
        trained on real faces gives verdicts only with `demo`.
        """
        path = Path(checkpoint) if checkpoint is not None else default_model(demo)
        return cls(Examiner.load(path, device, frames, demo=demo))

    def predict(self, path: str | os.PathLike[str], report_progress: ProgressCallback = ignore_progress) -> Prediction:
        """Detect and score the faces in a video or a picture. A file that cannot be read raises a UserError."""
        path = Path(path)
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        try:
            examination = self.examiner.examine(path, report_progress)
        except UnreadableVideo as error:
            raise UserError(f"{path}: {error}") from error
        verdict = examination.verdict
        return Prediction(
            path,
            verdict.verdict,
            verdict.is_uncertain,
            verdict.probability,
            verdict.reason,
            self.examiner.predictor.card.warning,
            tuple(_people(examination)),
            self.examiner,
            examination,
        )


def _people(examination: Examination) -> Iterator[PersonPrediction]:
    for track, verdict in examination.people.items():
        assert verdict.probability is not None, "a person has scored faces"
        faces = tuple(map(_face, examination.faces_of(track)))
        yield PersonPrediction(track, verdict.verdict, verdict.is_uncertain, verdict.probability, verdict.reason, faces)


def _face(face: ScoredFace) -> FacePrediction:
    return FacePrediction(face.score.frame, face.window[:4], face.probability, face.crop)
