"""The results that a worker writes to a job's folder: the evidence, a heatmap for each face and a video that browsers play."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from explain_deepfakes.explain_model.figures.over_time import write_annotated
from explain_deepfakes.explain_model.figures.sample_figure import HEAT_COLOURS
from explain_deepfakes.model_test_train.networks.input_contract import Image
from explain_deepfakes.pipeline.outputs import write_bytes, write_json
from explain_deepfakes.preprocessing.video.reencoding import DEFAULT_FRAME_RATE, PREVIEW_ENCODING, write_video
from explain_deepfakes.preprocessing.video.video import open_video
from explain_deepfakes.serving.api.jobs import ANNOTATED, HEAT, PLAYABLE, REPORT, RESULT
from explain_deepfakes.serving.examination.evidence import HEATMAP_OPACITY, write_evidence
from explain_deepfakes.serving.examination.examiner import Examiner, ProgressCallback
from explain_deepfakes.serving.examination.file_records import file_record

PLAYABLE_SIDE = 960  # px of the longer side


def examine_job(examiner: Examiner, upload: Path, name: str, annotated: bool, report_progress: ProgressCallback) -> None:
    """Examine an upload; write the verdict first, then the results that take longer."""
    folder = upload.parent
    examination = examiner.examine(upload, report_progress)
    record = file_record(examiner, examination, name)
    write_json(folder / RESULT, record)
    people = examiner.explain(examination, report_progress)
    write_evidence(folder / REPORT, record, examination, people, examiner)
    for track, person in people.items():
        for moment in person.moments:
            write_bytes(folder / HEAT / f"{track}_{moment.frame}.webp", heatmap_layer(moment.heat))
    write_playable_video(upload, folder / PLAYABLE, examiner, report_progress)
    if annotated and people:
        report_progress("annotating the video", 0, 1)
        with open_video(upload, examiner.reading) as video:
            warning = examiner.predictor.card.warning
            write_annotated(folder / ANNOTATED, video, people, HEATMAP_OPACITY, warning)


def heatmap_layer(heat: np.ndarray) -> bytes:
    """A WebP picture to overlay on a face: coloured where the heatmap is hot, transparent where it is cold."""
    colour = (255 * HEAT_COLOURS(heat)[..., :3]).round()
    layer = np.dstack([colour[..., ::-1], 255 * heat]).astype(np.uint8)
    return bytes(cv2.imencode(".webp", layer, [cv2.IMWRITE_WEBP_QUALITY, 80])[1])


def write_playable_video(upload: Path, path: Path, examiner: Examiner, report_progress: ProgressCallback) -> None:
    """Encode the video for browsers, with exactly the frames that were examined, so that times and boxes match."""
    with open_video(upload, examiner.reading) as video:
        total = video.facts.frames_present
        scale = min(1.0, PLAYABLE_SIDE / max(video.facts.width, video.facts.height))
        width, height = (max(2, 2 * round(scale * side / 2)) for side in (video.facts.width, video.facts.height))

        def pictures() -> Iterator[Image]:
            for done, (_, picture) in enumerate(video.frames(None, PLAYABLE_SIDE), 1):
                report_progress("encoding the video", done, total)
                yield picture

        write_video(path, pictures(), width, height, video.facts.frame_rate or DEFAULT_FRAME_RATE, PREVIEW_ENCODING)
