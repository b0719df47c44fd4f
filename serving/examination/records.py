"""Records: the JSON objects of a report, of `predict.py --json` and of the HTTP API."""

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:  # the server imports this module, and nothing large
    from explain_deepfakes.model_test_train.metrics.intervals import Estimate


class VerdictRecord(TypedDict):
    verdict: str
    uncertain: bool
    reason: str | None
    fake_probability: float | None
    fake_probability_raw: float | None


class RequiredFrameFields(TypedDict):
    frame: int
    seconds: float | None
    window: list[float]
    fake_probability: float
    decided: bool


class FrameRecord(RequiredFrameFields, total=False):
    members: dict[str, float]  # the fake probability from each network of an ensemble
    heat_confidence: float  # in reports only
    angle: float  # of an aligned crop: degrees by which the window is rotated, clockwise


class PersonRecord(VerdictRecord):
    track: int
    frames: list[FrameRecord]


class SegmentRecord(VerdictRecord):
    track: int
    frames: list[int]  # first and last
    when: str
    frames_scored: int


class VideoRecord(TypedDict):
    sha256: str
    bytes: int
    container: str
    codec: str
    width: int
    height: int
    frame_rate: float | None
    seconds: float | None
    frames_promised: int | None
    frames_present: int
    frames_looked_at: int
    frames_scored: int
    frames_damaged: int
    frames_missing: int
    ended_early: str | None
    other_streams: int


class ModelRecord(TypedDict):
    """The checkpoint, and the settings that its scores depend on."""

    model: str
    sha256: str
    warning: str | None
    trained_on: list[str]
    code: str | None
    threshold: float
    threshold_raw: float  # for scores of frames, which are not calibrated
    uncertain_from_to: list[float] | None
    aggregation: str
    frames_requested: int | None
    frames_per_person: int
    segments: dict[str, Any]
    demo: bool
    run_by: str
    detect_faces: dict[str, Any]
    extract_crops: dict[str, Any]


class TestRecord(TypedDict):
    """The checkpoint's error rates on a test set."""

    dataset: str
    videos: int
    fakes: int
    auc: "Estimate"
    false_alarm_rate: "Estimate"
    miss_rate: "Estimate"
    uncertain: int


class ReproductionRecord(TypedDict):
    """How to repeat the examination."""

    command: str
    verify: str
    code: str
    python: str
    packages: dict[str, str]


class CropRecord(VerdictRecord):
    """The result for a picture that is a face crop already."""

    format: int
    file: str
    warning: str | None
    judged_by: ModelRecord


class FileRecord(CropRecord):
    """The result for a video or a picture."""

    people: list[PersonRecord]
    segments: list[SegmentRecord]
    most_suspicious_segment: SegmentRecord | None
    video: VideoRecord
    tested: TestRecord | None
    how: ReproductionRecord
