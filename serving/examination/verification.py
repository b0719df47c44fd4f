"""Verification of a report: examine the file again and list every difference."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.params import build_settings
from explain_deepfakes.preprocessing.video.video import UnreadableVideo
from explain_deepfakes.serving.examination.examiner import Examiner
from explain_deepfakes.serving.examination.file_records import FORMAT, file_record
from explain_deepfakes.serving.examination.records import FileRecord
from explain_deepfakes.serving.examination.segments import SegmentParams
from explain_deepfakes.serving.models.default_model import default_model

TOLERANCE = 1e-4  # of probabilities: other processors sum in another order
VERDICT_FIELDS = ("verdict", "uncertain", "fake_probability")
IGNORED_MODEL_FIELDS = ("warning",)
REQUIRED_FIELDS = {"people", "video", "judged_by", "how", *VERDICT_FIELDS}


def differences(reported: FileRecord, actual: FileRecord) -> Iterator[str]:
    """Describe each result that differs from the report."""
    yield from compare_fields(VERDICT_FIELDS, "of the file", reported, actual)
    reported_people, people = ({person["track"]: person for person in record["people"]} for record in (reported, actual))
    yield from compare("people", sorted(reported_people), sorted(people))
    for track in sorted(reported_people.keys() & people.keys()):
        yield from compare_fields(VERDICT_FIELDS, f"of person {track}", reported_people[track], people[track])
        reported_frames, frames = (
            {frame["frame"]: frame for frame in person["frames"]} for person in (reported_people[track], people[track])
        )
        yield from compare(f"frames of person {track}", sorted(reported_frames), sorted(frames))
        for number in sorted(reported_frames.keys() & frames.keys()):
            fields, subject = ("fake_probability", "window"), f"of person {track} in frame {number}"
            yield from compare_fields(fields, subject, reported_frames[number], frames[number])


def environment_differences(reported: FileRecord, actual: FileRecord) -> Iterator[str]:
    """Describe each setting, and each version of code or packages, that differs from the report."""
    model_fields = [name for name in reported["judged_by"] if name not in IGNORED_MODEL_FIELDS]
    yield from compare_fields(model_fields, "of the model", reported["judged_by"], actual["judged_by"])
    yield from compare("code", reported["how"]["code"], actual["how"]["code"])
    yield from compare("python", reported["how"]["python"], actual["how"]["python"])
    for name, version in reported["how"]["packages"].items():
        yield from compare(f"package {name}", version, actual["how"]["packages"].get(name))


def compare_fields(
    names: Sequence[str], subject: str, reported: Mapping[str, object], actual: Mapping[str, object]
) -> Iterator[str]:
    for name in names:
        yield from compare(f"{name} {subject}", reported[name], actual.get(name))


def compare(what: str, reported: object, actual: object) -> Iterator[str]:
    if isinstance(reported, float) and isinstance(actual, float):
        is_same = abs(reported - actual) <= TOLERANCE
    else:
        is_same = reported == actual
    if not is_same:
        yield f"{what}: {reported} in the report, {actual} here"


def mismatch(report: FileRecord, file: Path, checkpoint: Path) -> str | None:
    """Say so if the report is about another file or checkpoint: its results cannot be compared then."""
    for what, path, reported in (
        ("file", file, report["video"]["sha256"]),
        ("checkpoint", checkpoint, report["judged_by"]["sha256"]),
    ):
        if (sha256 := content_hash(path)) != reported:
            return f"{path} is not the {what} that the report is about (SHA-256 {sha256}; in the report {reported})"
    return None


def read_report(path: Path) -> FileRecord:
    try:
        report: FileRecord = json.loads(path.read_text())
        version = report["format"]
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        version = None
    if version is None or (version == FORMAT and not report.keys() >= REQUIRED_FIELDS):
        raise UserError(f"{path} is not the JSON of a report by predict.py --report")
    if version != FORMAT:
        raise UserError(f"{path} is a report of another version (format {version}; this program reads {FORMAT})")
    return report


def model_of(report: FileRecord) -> Path:
    """The demo network if the report names it, else the default checkpoint."""
    shipped, demo = default_model(False), default_model(True)
    return demo if demo.is_file() and content_hash(demo) == report["judged_by"]["sha256"] else shipped


def verify(args: Namespace) -> None:
    report = read_report(args.report)
    if not args.file.is_file():
        raise UserError(f"there is no file {args.file}")
    model_path = args.model_path or model_of(report)
    if not model_path.is_file():
        raise UserError(f"there is no checkpoint {model_path}; name the checkpoint of the report with --model_path")
    if message := mismatch(report, args.file, model_path):
        print(message)
        sys.exit(1)
    model = report["judged_by"]
    examiner = Examiner.load(model_path, frames=model["frames_requested"], demo=model["demo"])
    segment_params = build_settings(SegmentParams, model["segments"], f"{args.report}: segments")
    examiner = replace(examiner, segment_params=segment_params)
    try:
        record: FileRecord = json.loads(json.dumps(file_record(examiner, examiner.examine(args.file))))
    except UnreadableVideo as error:
        raise UserError(f"{args.file}: {error}") from error
    result_lines, environment_lines = list(differences(report, record)), list(environment_differences(report, record))
    faces = sum(len(person["frames"]) for person in record["people"])
    if result_lines:
        print("DIFFERENT")
    else:
        people = len(record["people"])
        print(f"the same: {record['verdict']}, {people} {'person' if people == 1 else 'people'}, {faces} faces")
    for line in result_lines:
        print(f"  {line}")
    if environment_lines:
        print("different settings or versions:")
    for line in environment_lines:
        print(f"  {line}")
    sys.exit(1 if result_lines else 0)
