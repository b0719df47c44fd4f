"""Videos of which only segments are manipulated: their frames and parts are labelled by the segments."""

import csv
from pathlib import Path

import numpy as np
import pytest

from explain_deepfakes.model_test_train.evaluation.partly_fake import Part, label_parts, parts_of, score_parts, write_parts
from explain_deepfakes.model_test_train.evaluation.testing import labelled_frames
from explain_deepfakes.model_test_train.metrics.aggregation import FrameScore, Verdict
from explain_deepfakes.model_test_train.training.data import samples_by_video
from explain_deepfakes.pipeline.index import FAKE, REAL, Video
from explain_deepfakes.preprocessing.crops.crops import Crop

RATE = 10.0


def video(name: str, segments: tuple[tuple[float, float], ...], label: int = FAKE, rate: float = RATE) -> Video:
    method = "Original" if label == REAL else "Lips"
    return Video(f"{method}/{name}", method, label, "test_set", (name,), "v.mp4", "", "h", "LAVDF", (), "file", segments, rate)


def verdict(subject: Video, probabilities: list[float], track: int = 0) -> Verdict:
    frames = [FrameScore(subject.video, number, track, f"{number}.png", p) for number, p in enumerate(probabilities)]
    return Verdict(subject, {track: 0.5}, 0.5, 0.5, "fake", False, frames)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (((1, 2),), [(0, 1, REAL), (1, 2, FAKE), (2, 5, REAL)]),
        (((0, 2), (4, 5)), [(0, 2, FAKE), (2, 4, REAL), (4, 5, FAKE)]),
        (((3, 4), (1, 2)), [(0, 1, REAL), (1, 2, FAKE), (2, 3, REAL), (3, 4, FAKE), (4, 5, REAL)]),
        (((1, 3), (2, 4)), [(0, 1, REAL), (1, 3, FAKE), (3, 4, FAKE), (4, 5, REAL)]),
    ],
)
def test_a_video_is_divided_at_its_segments(segments: tuple, expected: list) -> None:
    assert parts_of(video("a", segments), 5) == [Part(*part) for part in expected]


def test_frames_outside_of_the_segments_are_real() -> None:
    partly, whole, real = video("a", ((1, 2),)), video("b", ()), video("c", (), REAL)
    verdicts = [verdict(subject, [0.5] * 30) for subject in (partly, whole, real)]
    labels = [score.label for score in labelled_frames(verdicts, 0.5)]
    assert labels == [0] * 10 + [1] * 10 + [0] * 10 + [1] * 30 + [0] * 30
    assert video("d", ((1, 2),), rate=0).is_manipulated(0)  # the frame cannot be placed in time


def test_training_uses_the_manipulated_frames_of_a_fake_only() -> None:
    partly = video("a", ((1, 2),))
    crops = [Crop(partly.video, number, 0, f"{number}.png", (0, 0, 1, 1), Path()) for number in range(30)]
    used = samples_by_video([partly], crops, 100, everybody=False)[partly.video]
    assert [sample.crop.frame for sample in used] == list(range(10, 20))
    assert len(samples_by_video([partly], crops, 100, everybody=True)[partly.video]) == 30


def test_parts_are_scored_labelled_and_written(tmp_path: Path) -> None:
    scores = [0.1] * 10 + [0.9] * 10 + [0.2] * 10
    verdicts = [verdict(video("a", ((1, 2),)), scores), verdict(video("b", (), REAL), [0.3] * 30)]
    scored = score_parts(verdicts)
    parts = label_parts(scored, [verdict.video for verdict in verdicts], 0.5)
    assert [(part.label, round(part.probability, 3), part.called_fake) for part in parts] == [
        (REAL, 0.1, False),
        (FAKE, 0.9, True),
        (REAL, 0.2, False),
    ]
    assert len({part.group for part in parts}) == 1
    write_parts(tmp_path, scored, 0.5)
    with (tmp_path / "parts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["begin"], row["end"], row["label"], row["frames"]) for row in rows] == [
        ("0.0", "1", "0", "10"),
        ("1", "2", "1", "10"),
        ("2", "3.0", "0", "10"),
    ]
    assert (tmp_path / "parts.png").stat().st_size > 5000


def test_in_each_frame_the_person_with_the_highest_score_counts() -> None:
    subject = video("a", ((0, 1),))
    frames = [FrameScore(subject.video, n, track, "f", 0.9 * track + 0.05) for n in range(20) for track in (0, 1)]
    both = Verdict(subject, {0: 0.1, 1: 0.9}, 0.9, 0.9, "fake", False, frames)
    assert np.allclose([part.probability for part in score_parts([both])], 0.95)
