"""Evidence for the verdicts on a file: a JSON record that can be reproduced, and a self-contained HTML page."""

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
from PIL import Image as Pillow

from explain_deepfakes.explain_model.figures.html import embed_image, load_template
from explain_deepfakes.explain_model.figures.over_time import draw_timeline
from explain_deepfakes.explain_model.figures.people import Moment, People
from explain_deepfakes.explain_model.figures.sample_figure import overlay_heat
from explain_deepfakes.explain_model.maps.heatmaps import confidence
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.pipeline.outputs import write_json, write_text
from explain_deepfakes.serving.examination.examiner import Examination, Examiner
from explain_deepfakes.serving.examination.records import FileRecord, PersonRecord

HEATMAP_OPACITY = 0.6
FACE_SIDE = 220  # px on the page


class PageFace(TypedDict):
    """A face on the page; pictures are data URLs."""

    frame: int
    seconds: float | None
    fake_probability: float
    heat_confidence: float
    face: str
    heat: str


class PagePerson(TypedDict):
    record: PersonRecord
    faces: list[PageFace]  # of the top-scoring frames


def write_evidence(path: Path, record: FileRecord, examination: Examination, people: People, examiner: Examiner) -> None:
    """Write the page, and the record as JSON beside it."""
    for person in record["people"]:
        add_heat_confidence(person, people[person["track"]].moments)
    write_json(path.with_suffix(".json"), record)
    page = load_template("evidence.html.j2", Path(__file__).parent).render(
        record=record,
        timeline=timeline_url(record, examination, people, examiner) if people else "",
        people=[person_on_page(person, people[person["track"]].moments) for person in record["people"]],
    )
    write_text(path, page)


def add_heat_confidence(person: PersonRecord, moments: Sequence[Moment]) -> None:
    for frame, moment in zip(person["frames"], moments, strict=True):
        frame["heat_confidence"] = round(confidence(moment.heat), 4)


def person_on_page(person: PersonRecord, moments: Sequence[Moment]) -> PagePerson:
    faces: list[PageFace] = []
    for frame, moment in zip(person["frames"], moments, strict=True):
        if frame["decided"]:
            face, heat = enlarge(moment.crop), enlarge(moment.heat)
            faces.append(
                {
                    "frame": frame["frame"],
                    "seconds": frame["seconds"],
                    "fake_probability": frame["fake_probability"],
                    "heat_confidence": frame["heat_confidence"],
                    "face": data_url(face),
                    "heat": data_url(overlay_heat(face, heat, HEATMAP_OPACITY)),
                }
            )
    return {"record": person, "faces": faces}


def enlarge(picture: np.ndarray) -> Image:
    scale = FACE_SIDE / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)


def data_url(picture: Image) -> str:
    content = io.BytesIO()
    Pillow.fromarray(picture).save(content, "WEBP", quality=86)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def timeline_url(record: FileRecord, examination: Examination, people: People, examiner: Examiner) -> str:
    """The plot of scores over time as a data URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.png"
        title = f"{record['file']}: {record['verdict']}{', but uncertain' if record['uncertain'] else ''}"
        draw_timeline(path, people, examination.facts.frame_rate, examiner.rule.threshold, title, None)
        return embed_image(path)
