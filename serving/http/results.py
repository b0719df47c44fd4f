"""What a worker leaves in a job's folder: the evidence, a map for each face, and the video as a browser plays it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from explain_model.figures.over_time import write_annotated
from explain_model.figures.sample_figure import COLOURS
from pipeline.outputs import write_bytes, write_json
from preprocessing.video.reencoding import SHOWN, USUAL_RATE, write_video
from preprocessing.video.video import open_video
from serving.examination.evidence import OPACITY, facts_of, write_evidence
from serving.examination.examiner import Examiner, Say
from serving.http.jobs import ANNOTATED, FOUND, HEAT, PLAYED

PLAYED_SIDE = 960  # px of the longer side


def examine_job(examiner: Examiner, upload: Path, name: str, annotated: bool, say: Say) -> None:
    """The verdict first, then what takes longer."""
    folder = upload.parent
    examination = examiner.examine(upload, say)
    facts = facts_of(examiner, examination, name)
    write_json(folder / FOUND, facts)
    people = examiner.explain(examination, say)
    write_evidence(folder / "report.html", facts, examination, people, examiner)
    for track, person in people.items():
        for moment in person.moments:
            write_bytes(folder / HEAT / f"{track}_{moment.frame}.webp", as_layer(moment.heat))
    play(upload, folder / PLAYED, examiner, say)
    if annotated and people:
        say("annotating", 0, 1)
        with open_video(upload, examiner.reading) as video:
            warning = examiner.judge.card.warning
            write_annotated(folder / ANNOTATED, video, people, OPACITY, warning)


def as_layer(heat: np.ndarray) -> bytes:
    """Colour where it is hot, and nothing where it is cold: to lie over the picture."""
    colour = (255 * COLOURS(heat)[..., :3]).round()
    layer = np.dstack([colour[..., ::-1], 255 * heat]).astype(np.uint8)
    return bytes(cv2.imencode(".webp", layer, [cv2.IMWRITE_WEBP_QUALITY, 80])[1])


def play(upload: Path, path: Path, examiner: Examiner, say: Say) -> None:
    """In the one format that every browser plays; frame by frame as it was examined, so that times and boxes fit."""
    with open_video(upload, examiner.reading) as video:
        total = video.facts.frames_present
        share = min(1.0, PLAYED_SIDE / max(video.facts.width, video.facts.height))
        width, height = (max(2, 2 * round(share * side / 2)) for side in (video.facts.width, video.facts.height))

        def pictures() -> Any:
            for done, (_, picture) in enumerate(video.frames(None, PLAYED_SIDE), 1):
                say("making it ready to play", done, total)
                yield picture

        write_video(path, pictures(), width, height, video.facts.frame_rate or USUAL_RATE, SHOWN)
