"""Examine files, print the verdicts, and write pages of evidence."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from explain_deepfakes.model_test_train.metrics.aggregation import FAKE_VERDICT, NO_VERDICT, REAL_VERDICT
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.model_test_train.networks.detector_files import installed_detector
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import shorten_name
from explain_deepfakes.preprocessing.video.video import UnreadableVideo
from explain_deepfakes.serving.examination.examiner import CalibratedVerdict, Examiner, ProgressCallback
from explain_deepfakes.serving.examination.file_records import crop_record, file_record
from explain_deepfakes.serving.examination.files import PAGE_SUFFIX
from explain_deepfakes.serving.examination.records import CropRecord, FileRecord, PersonRecord, TestRecord, VerdictRecord
from explain_deepfakes.serving.models.default_model import default_model

CONSOLE = Console(highlight=False, soft_wrap=True)
COLOURS = {FAKE_VERDICT: "bold red", REAL_VERDICT: "bold green", NO_VERDICT: "bold yellow"}
MAX_STEM_BYTES = 200  # of a file's name in the name of its page


def print_verdict(record: FileRecord, console: Console) -> None:
    """Print the verdict on a file, its people and its most suspicious segment."""
    if not print_headline(record, console):
        return
    video = record["video"]
    console.print(f"  {video['frames_scored']} of the {video['frames_looked_at']} sampled frames were scored")
    if others := video["other_streams"]:
        console.print(f"  [bold yellow]{others} further video stream{'s' * (others > 1)} in the file: not examined[/]")
    for person in record["people"]:
        top_frames = ", ".join(str(frame["frame"]) for frame in person["frames"] if frame["decided"])
        is_repeated = person["reason"] == record["reason"]
        shown: PersonRecord = {**person, "reason": None} if is_repeated else person
        verdict = format_verdict(shown)
        console.print(f"  person {person['track']}: {verdict}; {len(person['frames'])} frames, top-scoring: {top_frames}")
    if segment := record["most_suspicious_segment"]:
        console.print(f"  most suspicious segment: person {segment['track']} {segment['when']}, {format_verdict(segment)}")
    print_model(record, console)
    if tested := record["tested"]:
        console.print(f"  {format_test(tested)}")


def print_crop_verdict(record: CropRecord, console: Console) -> None:
    if print_headline(record, console):
        print_model(record, console)


def print_headline(record: CropRecord, console: Console) -> bool:
    """Print the verdict and the model's warning; return whether there is a verdict."""
    console.print(f"{printable(record['file'])}: {format_verdict(record)}")
    if record["verdict"] == NO_VERDICT:
        return False
    if record["warning"]:
        console.print(f"  [bold yellow]{record['warning']}[/]")
    return True


def printable(name: str) -> str:
    """A file name without control characters, which a terminal would obey, and without markup."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name))


def print_model(record: CropRecord, console: Console) -> None:
    model = record["judged_by"]
    console.print(f"  checkpoint {model['model']}, fake above {model['threshold']:.3f}")


def format_test(test: TestRecord) -> str:
    auc, false_alarms, misses = (
        format_estimate(test["auc"]),
        format_estimate(test["false_alarm_rate"]),
        format_estimate(test["miss_rate"]),
    )
    real = test["videos"] - test["fakes"]
    return (
        f"tested on {test['videos']} videos: AUC {auc}; of {real} real ones called fake: {false_alarms}; fakes missed: {misses}"
    )


def format_verdict(record: VerdictRecord) -> str:
    verdict, colour = record["verdict"], COLOURS[record["verdict"]]
    if verdict == NO_VERDICT:
        return f"[{colour}]{verdict}[/]: {record['reason']}"
    probability = f"fake probability {record['fake_probability']:.3f}"
    if record["uncertain"]:
        reason = f": {record['reason']}" if record["reason"] else ""
        return f"[{COLOURS[NO_VERDICT]}]{verdict}, but uncertain[/] ({probability}){reason}"
    return f"[{colour}]{verdict}[/] ({probability})"


def predict(args: Namespace, files: Sequence[Path]) -> None:
    if args.detector:
        args.model_path = installed_detector(args.detector)
    model_path = args.model_path or default_model(args.demo)
    examiner = Examiner.load(model_path, args.device, args.frames, demo=args.demo)
    records: list[CropRecord] = []
    if args.crops:
        for crop in examine_crops(examiner, files):
            records.append(crop)
            if not args.json:
                print_crop_verdict(crop, CONSOLE)
    else:
        for record in examine_files(examiner, files, args.report):
            records.append(record)
            if not args.json:
                print_verdict(record, CONSOLE)
    if args.json:
        print(json.dumps(records, indent=1, allow_nan=False))
    if len(records) < len(files):
        raise UserError(f"{len(files) - len(records)} of {len(files)} files could not be read; see the messages above")


def examine_crops(examiner: Examiner, files: Sequence[Path]) -> Iterator[CropRecord]:
    for path, verdict in zip(files, examiner.examine_crops(files), strict=True):
        if isinstance(verdict, CalibratedVerdict):
            yield crop_record(examiner, path, verdict)
        elif isinstance(verdict, UserError):
            print(verdict, file=sys.stderr)
        else:
            print(f"{path}: {verdict.strerror}", file=sys.stderr)


def examine_files(examiner: Examiner, files: Sequence[Path], report: Path | None) -> Iterator[FileRecord]:
    for path in files:
        try:
            yield examine_file(examiner, path, report)
        except UnreadableVideo as error:
            if len(files) == 1:
                raise UserError(f"{path}: {error}") from error
            print(f"{path}: {error}", file=sys.stderr)


def examine_file(examiner: Examiner, path: Path, report: Path | None) -> FileRecord:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        report_progress = progress_bar(progress)
        examination = examiner.examine(path, report_progress)
        record = file_record(examiner, examination)
        if report:
            stem = shorten_name(path.stem, MAX_STEM_BYTES)
            page = report if report.suffix == PAGE_SUFFIX else report / f"{stem}_{record['video']['sha256'][:8]}{PAGE_SUFFIX}"
            from explain_deepfakes.serving.examination.evidence import write_evidence  # loads matplotlib

            write_evidence(page, record, examination, examiner.explain(examination, report_progress), examiner)
    if report:
        print(f"evidence: {page}", file=sys.stderr)
    return record


def progress_bar(progress: Progress) -> ProgressCallback:
    """A single bar, which restarts with each step."""
    bar = progress.add_task("opening", total=None)

    def report_progress(doing: str, done: int, total: int) -> None:
        progress.update(bar, description=doing, completed=done, total=total)

    return report_progress
