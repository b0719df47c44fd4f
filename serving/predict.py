"""Is the face in it real? Videos, pictures, or folders of them -> verdicts; with --report, pages that show why.

python serving/predict.py VIDEO… [--model_path CHECKPOINT] [--report OUT.html] [--json]
python serving/predict.py --model_path data/ensembles/average/ensemble.json VIDEO…    # several networks together
python serving/predict.py --crops IMAGE…                                              # faces that are cut out already
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from model_test_train.evaluation.plots import told
from model_test_train.metrics.verdicts import FAKE_VERDICT, NO_VERDICT, REAL_VERDICT
from pipeline.errors import UserError, run
from pipeline.outputs import shortened
from pipeline.params import DEVICES, spellings
from preprocessing.video.video import UnreadableVideo
from serving.examination.evidence import Facts, facts_of, facts_of_crop, write_evidence
from serving.examination.examiner import Examiner, Finding, Say
from serving.models.default_model import default_model

CONSOLE = Console(highlight=False, soft_wrap=True)
COLOURS = {FAKE_VERDICT: "bold red", REAL_VERDICT: "bold green", NO_VERDICT: "bold yellow"}
PAGE = ".html"
MOST_OF_NAME = 200  # bytes of a file's name that its page's name begins with
VIDEOS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".gif"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def print_verdict(facts: Facts, console: Console) -> None:
    """The verdict in words."""
    console.print(f"{facts['file']}: {in_words(facts)}")
    if facts["verdict"] == NO_VERDICT:
        return
    if facts["warning"]:
        console.print(f"  [bold yellow]{facts['warning']}[/]")
    if "video" in facts:
        video = facts["video"]
        console.print(f"  {video['frames_scored']} of the {video['frames_looked_at']} frames looked at were scored")
    for person in facts.get("people", ()):
        top = ", ".join(str(frame["frame"]) for frame in person["frames"] if frame["decided"])
        once = {**person, "reason": None} if person["reason"] == facts["reason"] else person
        console.print(f"  person {person['track']}: {in_words(once)}; {len(person['frames'])} frames, top-scoring: {top}")
    if segment := facts.get("most_suspicious_segment"):
        console.print(f"  most suspicious segment: person {segment['track']} {segment['when']}, {in_words(segment)}")
    model = facts["judged_by"]
    console.print(f"  checkpoint {model['model']}, fake above {model['threshold']:.3f}")
    if tested := facts.get("tested"):
        console.print(f"  {tested_in_words(tested)}")


def tested_in_words(tested: Facts) -> str:
    auc, alarms, misses = (told(tested[name]) for name in ("auc", "false_alarm_rate", "miss_rate"))
    real = tested["videos"] - tested["fakes"]
    return f"tested on {tested['videos']} videos: AUC {auc}; of {real} real ones called fake: {alarms}; fakes missed: {misses}"


def in_words(facts: Facts) -> str:
    verdict, colour = facts["verdict"], COLOURS[facts["verdict"]]
    if verdict == NO_VERDICT:
        return f"[{colour}]{verdict}[/]: {facts['reason']}"
    probability = f"fake probability {facts['fake_probability']:.3f}"
    if facts["uncertain"]:
        because = f": {facts['reason']}" if facts["reason"] else ""
        return f"[{COLOURS[NO_VERDICT]}]{verdict}, but uncertain[/] ({probability}){because}"
    return f"[{colour}]{verdict}[/] ({probability})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Is the face in it real? The verdict of a trained network.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="videos, pictures, or folders of them")
    parser.add_argument("--crops", action="store_true", help="the files are pictures of faces, cut out already")
    parser.add_argument(
        *spellings("model_path"),
        type=Path,
        help="the checkpoint, or an ensemble's .json (default: the detector that comes with the project)",
    )
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="evidence: a page, and OUT.json; or a folder for them")
    parser.add_argument("--json", action="store_true", help="print what was found as a JSON list")
    parser.add_argument(
        "--frames", type=at_least_one, metavar="N", help="of a video, to look at; else as the network's card says"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "--demo",
        action="store_true",
        help="use the demo network of `make repro`; also allow a --model_path that has never seen a real face",
    )
    given = parser.parse_args()
    files = list(files_in(given.files, PICTURES if given.crops else VIDEOS | PICTURES))
    if given.report and given.crops:
        raise UserError("--report is of videos and whole pictures; leave --crops out")
    if given.report and given.report.suffix not in ("", PAGE) and not given.report.is_dir():
        raise UserError(f"--report is {given.report}; name a page that ends in {PAGE}, or a folder")
    if given.report and len(files) > 1 and given.report.suffix == PAGE:
        raise UserError("--report: there are several files; name a folder, and each gets a page in it")
    model_path = given.model_path or default_model(given.demo)
    examiner = Examiner.load(model_path, given.device, given.frames, demo=given.demo)
    found = []
    for facts in verdicts(examiner, files, given.crops, given.report):
        found.append(facts)
        if not given.json:
            print_verdict(facts, CONSOLE)
    if given.json:
        print(json.dumps(found, indent=1, allow_nan=False))
    if len(found) < len(files):
        raise UserError(f"{len(files) - len(found)} of {len(files)} files could not be read, as told above")


def at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("it looks at one frame at least")
    return number


def files_in(paths: Sequence[Path], suffixes: set[str]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
            if not found:
                raise UserError(f"in the folder {path} there is no file that looks like a video or a picture")
            yield from found
        elif not path.is_file():
            raise UserError(f"there is no file {path}")
        else:
            yield path


def verdicts(examiner: Examiner, files: Sequence[Path], are_crops: bool, report: Path | None) -> Iterator[Facts]:
    if are_crops:
        for path, finding in zip(files, examiner.examine_crops(files), strict=True):
            if isinstance(finding, Finding):
                yield facts_of_crop(examiner, path, finding)
            else:
                print(str(finding) if isinstance(finding, UserError) else f"{path}: {finding.strerror}", file=sys.stderr)
        return
    for path in files:
        try:
            yield examined(examiner, path, report)
        except UnreadableVideo as error:
            if len(files) == 1:
                raise UserError(f"{path}: {error}") from error
            print(f"{path}: {error}", file=sys.stderr)


def examined(examiner: Examiner, path: Path, report: Path | None) -> Facts:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        say = shown_in(progress)
        examination = examiner.examine(path, say)
        facts = facts_of(examiner, examination)
        if report:
            name = shortened(path.stem, MOST_OF_NAME)
            page = report if report.suffix == PAGE else report / f"{name}_{facts['video']['sha256'][:8]}{PAGE}"
            write_evidence(page, facts, examination, examiner.explain(examination, say), examiner)
    if report:
        print(f"evidence: {page}", file=sys.stderr)
    return facts


def shown_in(progress: Progress) -> Say:
    """One bar, that begins anew with each thing done."""
    bar = progress.add_task("opening", total=None)

    def say(doing: str, done: int, total: int) -> None:
        progress.update(bar, description=doing, completed=done, total=total)

    return say


if __name__ == "__main__":
    run(main)
