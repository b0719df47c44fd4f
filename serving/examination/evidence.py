"""What was found in a file -> the evidence: facts that can be repeated, and one page that opens offline and prints."""

import base64
import io
import shlex
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from explain_model.figures.over_time import People, deciding, draw_timeline
from explain_model.figures.sample_figure import overlaid
from explain_model.maps.heatmaps import confidence
from explain_model.report import embedded, read_json, template
from model_test_train.metrics.verdicts import NO_VERDICT
from model_test_train.networks.input_contract import Image
from pipeline.ledger import content_hash
from pipeline.outputs import write_json, write_text
from pipeline.project import from_root, relative
from pipeline.provenance import all_code
from serving.examination.examiner import Examination, Examiner, Finding, Segment, most_suspicious
from serving.examination.segments import in_words
from serving.models.default_model import SHIPPED

FORMAT = 2  # of the facts
PACKAGES = ("torch", "torchvision", "av", "facenet-pytorch", "opencv-python-headless", "numpy")  # that numbers depend on
OPACITY = 0.6
FACE_SIDE = 220  # px on the page
Facts = dict[str, Any]


def facts_of(examiner: Examiner, examination: Examination, file: str | None = None) -> Facts:
    """All that was found, by whom, and how; no time stamp, so that the same examination says the same."""
    file = file or examination.path.name
    return {
        "format": FORMAT,
        "file": file,
        **examination.whole.as_facts(),
        "warning": examiner.judge.card.warning,
        "people": [
            {"track": track, **finding.as_facts(), "frames": frames_of(examiner, examination, track)}
            for track, finding in examination.people.items()
        ],
        **segment_facts(examination),
        "video": video_facts(examination),
        "judged_by": examiner.as_facts(),
        "tested": tested(examiner.sha256),
        "how": {
            "command": command("predict", examiner, file),
            "verify": command("verify", examiner, file, "REPORT.json"),
            "code": all_code(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "packages": {name: version(name) for name in PACKAGES},
        },
    }


def facts_of_crop(examiner: Examiner, path: Path, finding: Finding) -> Facts:
    """Of a picture that is a face already."""
    return {
        "format": FORMAT,
        "file": path.name,
        **finding.as_facts(),
        "warning": examiner.judge.card.warning,
        "judged_by": examiner.as_facts(),
    }


def segment_facts(examination: Examination) -> Facts:
    """Of a long video, each segment and the one that looks most like a fake."""
    facts = {segment: segment_as_facts(segment, examination) for segment in examination.segments}
    worst = most_suspicious(examination.segments)
    return {"segments": list(facts.values()), "most_suspicious_segment": facts[worst] if worst else None}


def segment_as_facts(segment: Segment, examination: Examination) -> Facts:
    rate = examination.facts.frame_rate
    return {
        "track": segment.track,
        "frames": [segment.first, segment.last],
        "when": in_words(segment.first, segment.last, rate),
        "frames_scored": segment.frames_scored,
        **segment.finding.as_facts(),
    }


def frames_of(examiner: Examiner, examination: Examination, track: int) -> list[Facts]:
    rate, names = examination.facts.frame_rate, list(examiner.judge.networks)
    seen = examination.seen_of(track)
    top_scoring = deciding(seen, examination.people[track].is_fake)
    return [
        {
            "frame": face.score.frame,
            "seconds": round(face.score.frame / rate, 3) if rate else None,
            "window": list(face.window),
            "fake_probability": face.probability,
            "decided": face in top_scoring,
            **({"members": dict(zip(names, face.score.told, strict=True))} if len(names) > 1 else {}),
        }
        for face in seen
    ]


def video_facts(examination: Examination) -> Facts:
    facts, account = examination.facts, examination.account
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
        "frames_looked_at": len(examination.looked_at),
        "frames_scored": examination.frames_scored,
        "frames_damaged": account.frames_damaged,
        "frames_missing": account.frames_missing,
        "ended_early": account.ended_early,
    }


@cache
def tested(sha256: str) -> Facts | None:
    """How often this very judge was wrong, where it was tested here."""
    for protocol in (*SHIPPED.parent.glob("*/protocol.json"), *sorted(from_root("results").glob("**/protocol.json"))):
        found = read_json(protocol)
        if found.get("checkpoint") == sha256 and found.get("split") == "test_set":
            measured = read_json(protocol.with_name("metrics.json"))
            figures = ("auc", "false_alarm_rate", "miss_rate")
            return {
                "dataset": found["dataset"],
                "videos": measured["video"]["count"],
                "fakes": measured["video"]["fakes"],
                **{name: measured["video"].get(name) for name in figures},
                "uncertain": measured["abstaining"]["uncertain"],
            }
    return None


def command(name: str, examiner: Examiner, file: str, *more: str) -> str:
    model = relative(examiner.model_path.absolute())
    flags = []  # verify takes these from the report
    if name == "predict":
        flags += ["--frames", str(examiner.frames_requested)] if examiner.frames_requested else []
        flags += ["--demo"] if examiner.demo else []
    return shlex.join(["python", f"serving/{name}.py", file, *more, "--model_path", model, *flags])


def write_evidence(path: Path, facts: Facts, examination: Examination, people: People, examiner: Examiner) -> None:
    """The page, and beside it the same facts as JSON."""
    for person in facts["people"]:
        note_heat(person, people[person["track"]].moments)
    write_json(path.with_suffix(".json"), facts)
    page = template("evidence.html.j2", Path(__file__).parent).render(
        facts=facts,
        timeline=timeline(facts, examination, people, examiner) if people else "",
        people=[person_on_page(person, people[person["track"]].moments) for person in facts["people"]],
        no_verdict=NO_VERDICT,
        heat_names=", ".join(examiner.judge.networks),
    )
    write_text(path, page)


def note_heat(person: Facts, moments: Sequence[Any]) -> None:
    """How sure each map is of its place."""
    for frame, moment in zip(person["frames"], moments, strict=True):
        frame["heat_confidence"] = round(confidence(moment.heat), 4)


def person_on_page(person: Facts, moments: Sequence[Any]) -> Facts:
    faces = []
    for frame, moment in zip(person["frames"], moments, strict=True):
        if frame["decided"]:
            face, heat = larger(moment.crop), larger(moment.heat)
            faces.append({**frame, "face": as_address(face), "heat": as_address(overlaid(face, heat, OPACITY))})
    return {**person, "decided": faces}


def larger(picture: np.ndarray) -> Image:
    share = FACE_SIDE / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_CUBIC)


def as_address(picture: Image) -> str:
    content = io.BytesIO()
    Pillow.fromarray(picture).save(content, "WEBP", quality=86)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def timeline(facts: Facts, examination: Examination, people: People, examiner: Examiner) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.png"
        title = f"{facts['file']}: {facts['verdict']}{', but uncertain' if facts['uncertain'] else ''}"
        draw_timeline(path, people, examination.facts.frame_rate, examiner.rule.threshold, title, None)
        return embedded(path)
