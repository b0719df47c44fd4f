"""The second examiner: a file and the facts of its evidence -> whether the same is found again, and if not, what differs.

    python serving/verify.py VIDEO REPORT.json [--model_path CHECKPOINT]

Ends with status 0 if all is the same; with 1 if not, or if the report is about another file or checkpoint.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.params import build, spellings
from preprocessing.video.video import UnreadableVideo
from serving.examination.evidence import FORMAT, Facts, facts_of
from serving.examination.examiner import Examiner
from serving.examination.segments import SegmentSettings
from serving.models.default_model import default_model

TOLERANCE = 1e-4  # of probabilities: other processors sum in another order
FINDINGS = ("verdict", "uncertain", "fake_probability")
NO_MATTER = ("warning",)  # of the judge: words
SECTIONS = {"people", "video", "judged_by", "how", *FINDINGS}


def differences(told: Facts, found: Facts) -> Iterator[str]:
    """What of the findings is not as it was told."""
    for name in FINDINGS:
        yield from unlike(f"{name} of the whole", told[name], found[name])
    people, again = ({person["track"]: person for person in facts["people"]} for facts in (told, found))
    yield from unlike("people", sorted(people), sorted(again))
    for track in sorted(people.keys() & again.keys()):
        for name in FINDINGS:
            yield from unlike(f"{name} of person {track}", people[track][name], again[track][name])
        frames, anew = ({frame["frame"]: frame for frame in one["frames"]} for one in (people[track], again[track]))
        yield from unlike(f"frames of person {track}", sorted(frames), sorted(anew))
        for number in sorted(frames.keys() & anew.keys()):
            for name in ("fake_probability", "window"):
                yield from unlike(f"{name} of person {track} in frame {number}", frames[number][name], anew[number][name])


def other_circumstances(told: Facts, found: Facts) -> Iterator[str]:
    """What may be why: another setting, other code or packages."""
    for name, value in told["judged_by"].items():
        if name not in NO_MATTER:
            yield from unlike(f"the judge's {name}", value, found["judged_by"].get(name))
    for name in ("code", "python"):
        yield from unlike(name, told["how"][name], found["how"][name])
    for name, value in told["how"]["packages"].items():
        yield from unlike(f"package {name}", value, found["how"]["packages"].get(name))


def unlike(what: str, told: Any, found: Any) -> Iterator[str]:
    same = abs(told - found) <= TOLERANCE if isinstance(told, float) and isinstance(found, float) else told == found
    if not same:
        yield f"{what}: {told} in the report, {found} here"


def mismatch(told: Facts, file: Path, checkpoint: Path) -> str | None:
    """That the report is about another file, or by another checkpoint: nothing that it says can then be expected here."""
    for what, path, facts in (("file", file, told["video"]), ("checkpoint", checkpoint, told["judged_by"])):
        if (sha256 := content_hash(path)) != facts["sha256"]:
            return f"{path} is not the {what} that the report is about (SHA-256 {sha256}; in the report {facts['sha256']})"
    return None


def read_facts(path: Path) -> Facts:
    try:
        facts: Facts = json.loads(path.read_text())
        version = facts["format"]
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        version = None
    if version is None or (version == FORMAT and not facts.keys() >= SECTIONS):
        raise UserError(f"{path} is not the JSON of a report by predict.py --report")
    if version != FORMAT:
        raise UserError(f"{path} is a report of another version (format {version}; this one reads {FORMAT})")
    return facts


def model_of(told: Facts) -> Path:
    """The one that answers by default, unless the report is by the demo's."""
    shipped, demo = default_model(False), default_model(True)
    return demo if demo.is_file() and content_hash(demo) == told["judged_by"]["sha256"] else shipped


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether what a report says is found again in the file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("report", type=Path, metavar="REPORT.json")
    parser.add_argument(*spellings("model_path"), type=Path, help="the checkpoint that the report names, if it lies elsewhere")
    given = parser.parse_args()
    told = read_facts(given.report)
    if not given.file.is_file():
        raise UserError(f"there is no file {given.file}")
    model_path = given.model_path or model_of(told)
    if not model_path.is_file():
        raise UserError(f"there is no checkpoint {model_path}; --model_path names the one of the report")
    if message := mismatch(told, given.file, model_path):
        print(message)
        sys.exit(1)
    how = told["judged_by"]
    examiner = Examiner.load(model_path, frames=how["frames_requested"], demo=how["demo"])
    examiner = replace(examiner, segmenting=build(SegmentSettings, how["segments"], f"{given.report}: segments"))
    try:
        found = json.loads(json.dumps(facts_of(examiner, examiner.examine(given.file))))
    except UnreadableVideo as error:
        raise UserError(f"{given.file}: {error}") from error
    differ, others = list(differences(told, found)), list(other_circumstances(told, found))
    frames = sum(len(person["frames"]) for person in found["people"])
    print("DIFFERENT" if differ else f"the same: {found['verdict']}, {len(found['people'])} people, {frames} faces")
    for line in differ:
        print(f"  {line}")
    if others:
        print("other circumstances:")
    for line in others:
        print(f"  {line}")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    run(main)
