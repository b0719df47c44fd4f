"""Records of the verdicts: they can be reproduced, and contain no time stamp."""

import shlex
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from explain_deepfakes.explain_model.figures.people import top_scoring_frames
from explain_deepfakes.explain_model.inputs.samples import read_json
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.project import from_root, relative
from explain_deepfakes.pipeline.provenance import all_code
from explain_deepfakes.serving.examination.examiner import (
    CalibratedVerdict,
    Examination,
    Examiner,
    ScoredSegment,
    most_suspicious,
)
from explain_deepfakes.serving.examination.records import (
    CropRecord,
    FileRecord,
    FrameRecord,
    SegmentRecord,
    TestRecord,
    VideoRecord,
)
from explain_deepfakes.serving.examination.segments import format_time_range
from explain_deepfakes.serving.models.default_model import SHIPPED

FORMAT = 2  # of the record
PACKAGES = ("torch", "torchvision", "av", "facenet-pytorch", "opencv-python-headless", "numpy")  # those that affect scores


def file_record(examiner: Examiner, examination: Examination, file: str | None = None) -> FileRecord:
    """All results and how they were obtained; no time stamp, so that repeating the examination gives the same record."""
    file = file or examination.path.name
    segments = {segment: segment_record(segment, examination) for segment in examination.segments}
    worst = most_suspicious(examination.segments)
    return {
        "format": FORMAT,
        "file": file,
        **examination.verdict.as_record(),
        "warning": examiner.predictor.card.warning,
        "people": [
            {"track": track, **verdict.as_record(), "frames": frame_records(examiner, examination, track)}
            for track, verdict in examination.people.items()
        ],
        "segments": list(segments.values()),
        "most_suspicious_segment": segments[worst] if worst else None,
        "video": video_record(examination),
        "judged_by": examiner.as_record(),
        "tested": find_test(examiner.sha256),
        "how": {
            "command": command("predict", examiner, file),
            "verify": command("verify", examiner, file, "REPORT.json"),
            "code": all_code(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "packages": {name: version(name) for name in PACKAGES},
        },
    }


def crop_record(examiner: Examiner, path: Path, verdict: CalibratedVerdict) -> CropRecord:
    return {
        "format": FORMAT,
        "file": path.name,
        **verdict.as_record(),
        "warning": examiner.predictor.card.warning,
        "judged_by": examiner.as_record(),
    }


def segment_record(segment: ScoredSegment, examination: Examination) -> SegmentRecord:
    return {
        "track": segment.track,
        "frames": [segment.first, segment.last],
        "when": format_time_range(segment.first, segment.last, examination.facts.frame_rate),
        "frames_scored": segment.frames_scored,
        **segment.verdict.as_record(),
    }


def frame_records(examiner: Examiner, examination: Examination, track: int) -> list[FrameRecord]:
    rate, networks = examination.facts.frame_rate, list(examiner.predictor.networks)
    faces = examination.faces_of(track)
    top_scoring = top_scoring_frames(faces, examination.people[track].is_fake)
    records: list[FrameRecord] = []
    for face in faces:
        record: FrameRecord = {
            "frame": face.score.frame,
            "seconds": round(face.score.frame / rate, 3) if rate else None,
            "window": list(face.window[:4]),
            "fake_probability": face.probability,
            "decided": face in top_scoring,
        }
        if face.window.side:
            record["angle"] = face.window.angle
        if len(networks) > 1:
            record["members"] = dict(zip(networks, face.score.aux_outputs, strict=True))
        records.append(record)
    return records


def video_record(examination: Examination) -> VideoRecord:
    facts, stats = examination.facts, examination.stats
    return {
        "sha256": content_hash(examination.path),
        "bytes": examination.path.stat().st_size,
        "container": facts.container,
        "codec": facts.codec,
        "width": facts.width,
        "height": facts.height,
        "frame_rate": facts.frame_rate,
        "seconds": round(facts.frames_present / facts.frame_rate, 3) if facts.frame_rate else None,
        "frames_promised": facts.frames_promised,
        "frames_present": facts.frames_present,
        "frames_looked_at": len(examination.sampled_frames),
        "frames_scored": examination.frames_scored,
        "frames_damaged": stats.frames_damaged,
        "frames_missing": stats.frames_missing,
        "ended_early": stats.ended_early,
        "other_streams": facts.other_streams,
    }


@cache
def find_test(sha256: str) -> TestRecord | None:
    """The error rates of this very checkpoint, if there is a test of it in the project."""
    for path in (*SHIPPED.parent.glob("*/protocol.json"), *sorted(from_root("results").glob("**/protocol.json"))):
        protocol = read_json(path)
        if protocol.get("checkpoint") == sha256 and protocol.get("split") == "test_set":
            metrics = read_json(path.with_name("metrics.json"))
            by_video = metrics["video"]
            return {
                "dataset": protocol["dataset"],
                "videos": by_video["count"],
                "fakes": by_video["fakes"],
                "auc": by_video.get("auc"),
                "false_alarm_rate": by_video.get("false_alarm_rate"),
                "miss_rate": by_video.get("miss_rate"),
                "uncertain": metrics["abstaining"]["uncertain"],
            }
    return None


def command(script: str, examiner: Examiner, file: str, *arguments: str) -> str:
    """The command line that repeats or verifies the examination."""
    model = relative(examiner.model_path.absolute())
    flags = []
    if script == "predict":  # verify.py reads these from the report
        flags += ["--frames", str(examiner.frames_requested)] if examiner.frames_requested else []
        flags += ["--demo"] if examiner.demo else []
    return shlex.join(["python", f"serving/{script}.py", file, *arguments, "--model_path", model, *flags])
