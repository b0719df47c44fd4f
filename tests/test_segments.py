"""Long videos: the requested frames are scored, and a short fake segment in a long real video is detected."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from little_videos import HEIGHT, WIDTH, draw_face, plain, write_video

from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.metrics.aggregation import VerdictRule
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import VideoFacts
from explain_deepfakes.serving.examination.examiner import Examiner
from explain_deepfakes.serving.examination.file_records import file_record
from explain_deepfakes.serving.examination.segments import SegmentParams, plan_segments

RATE = 25
SECONDS = 40
FAKE_SECONDS = range(21, 29)
PINK = np.array((60, -40, -10))


class Predictor:
    """A predictor for which pink faces are fake."""

    def __init__(self) -> None:
        self.card = SimpleNamespace(name="pink", warning=None, trained_on=["FACES"], provenance={}, refusal=None)
        self.networks: dict[str, None] = {"pink": None}
        self.runners: dict[str, None] = {}

    def predict(self, crops: list[Image]) -> tuple[np.ndarray, np.ndarray]:
        redness = np.array([crop[..., 0].mean() - crop[..., 1].mean() for crop in crops])
        probabilities = 1 / (1 + np.exp(-(redness - 45) / 5))
        return probabilities, probabilities[:, None]

    def members_disagree(self, *_: object) -> bool:
        return False


@pytest.fixture(scope="module")
def spliced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a real person for 40 s, of which 8 s show another face."""
    wall, face = plain(110), draw_face(plain(110), WIDTH // 2, HEIGHT // 2)
    pink = (face + PINK * (face != wall).any(2, keepdims=True)).clip(0, 255).astype(np.uint8)
    frames = (pink if index // RATE in FAKE_SECONDS else face for index in range(SECONDS * RATE))
    return write_video(tmp_path_factory.mktemp("spliced") / "spliced.mp4", frames)


def examiner(frames: int | None = None) -> Examiner:
    seeking = load_params("detect_faces", DetectionParams, {"frames": 16})
    cutting = load_params("extract_crops", CropParams).crop_settings()
    tests = load_params("test", TestParams)
    return Examiner(
        Predictor(),  # type: ignore[arg-type]
        Path("pink.safetensors"),
        "0" * 64,
        VerdictRule("mean", 0.5),
        frames,
        tests.frames_per_video,
        load_params("segments", SegmentParams),
        seeking,
        cutting,
        load_params("read_video", ReadingParams),
    )


def test_a_short_fake_in_a_long_video_is_named_and_makes_its_verdict_uncertain(spliced: Path) -> None:
    facts = file_record(examiner(), examiner().examine(spliced))
    assert facts["verdict"] == "real"
    assert facts["uncertain"]
    worst = facts["most_suspicious_segment"]
    first, last = worst["frames"]
    assert FAKE_SECONDS.start * RATE <= first
    assert last < FAKE_SECONDS.stop * RATE
    assert (worst["verdict"], worst["track"]) == ("fake", 0)
    assert facts["reason"] == f"person 0 looks fake {worst['when']}"
    assert worst["when"] == "from 0:24 to 0:28"
    assert facts["people"][0]["uncertain"]


def test_a_long_video_without_a_fake_segment_is_certainly_real(tmp_path: Path) -> None:
    face = draw_face(plain(110), WIDTH // 2, HEIGHT // 2)
    video = write_video(tmp_path / "real.mp4", (face for _ in range(SECONDS * RATE // 2)))
    facts = file_record(examiner(), examiner().examine(video))
    assert (facts["verdict"], facts["uncertain"], facts["reason"]) == ("real", False, None)
    assert len(facts["segments"]) == SECONDS // 2 // 4


@pytest.mark.parametrize(("frames", "scored"), [(None, 40), (7, 7), (100, 100)])
def test_as_many_frames_are_scored_as_were_requested(spliced: Path, frames: int | None, scored: int) -> None:
    facts = file_record(examiner(frames), examiner(frames).examine(spliced))
    assert (facts["video"]["frames_looked_at"], facts["video"]["frames_scored"]) == (scored, scored)
    assert [len(person["frames"]) for person in facts["people"]] == [scored]
    assert sum(segment["frames_scored"] for segment in facts["segments"]) in (0, scored)
    assert ("--frames" in facts["how"]["command"]) == (frames is not None)


def facts_for(seconds: float, rate: float | None = 25.0) -> VideoFacts:
    return cast(VideoFacts, SimpleNamespace(frames_present=round(seconds * (rate or 25)), frame_rate=rate))


@pytest.mark.parametrize(
    ("seconds", "requested", "segments", "frames"),
    [
        (3, None, 1, 16),  # as short as the test clips: the same number of frames, one segment
        (10, None, 2, 16),
        (180, None, 45, 180),
        (180, 20, 5, 20),
        (7200, None, 150, 600),  # bounded for any length
        (180, 2, 1, 2),
    ],
)
def test_segments_grow_with_the_video(seconds: float, requested: int | None, segments: int, frames: int) -> None:
    plan = plan_segments(facts_for(seconds), SegmentParams(4, 4, 150), requested, 16)
    assert (plan.segments, plan.frames) == (segments, frames)


def test_every_frame_is_in_one_segment() -> None:
    facts = facts_for(33.3)
    plan, total = plan_segments(facts, SegmentParams(4, 4, 150), None, 16), facts.frames_present
    stretches = [plan.frames_of(segment, total) for segment in range(plan.segments)]
    assert [frame for first, last in stretches for frame in range(first, last + 1)] == list(range(total))
    assert all(plan.segment_of(frame, total) == number for number, pair in enumerate(stretches) for frame in pair)
