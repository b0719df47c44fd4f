"""Stage detect_faces: videos -> the faces in some of their frames, and who of them is who.

Reads the videos of the index, or of the folder at `--data_path`; writes <Method>/<stem>.json for each (see boxes.py), the
stage's ledger and failures.csv to data/boxes, or to boxes/ below `--data_path`.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.errors import run
from pipeline.incremental import SCOPE_FLAGS, Job, Outcome, Part, failure, scope_of, update_outputs
from pipeline.index import Video
from pipeline.ledger import key_of
from pipeline.params import PlaceFlag, Section, read_command_line
from pipeline.project import from_root
from preprocessing.corpus.folders import CorpusFolders
from preprocessing.corpus.source import FLAGS, videos_of
from preprocessing.faces.boxes import write_boxes
from preprocessing.faces.detection import Params, find_boxes
from preprocessing.faces.ray_detector import detectors_of
from preprocessing.video.video import OpenVideo, Reading, UnreadableVideo, open_video


def detect_in_video(job: Job, output: Path, params: Params, reading: Reading, opened: OpenVideo | None = None) -> Outcome:
    """`opened` is the job's video, if it is open already."""
    try:
        with nullcontext(opened) if opened else open_video(from_root(job.video.path), reading) as video:
            boxes = find_boxes(video, job.video.video, params)
    except UnreadableVideo as error:
        return failure(job, error.reason, error.remedy)
    (place,) = job.outputs
    write_boxes(output / place, boxes)
    if not boxes.frames:
        looked = f"no face found in the {len(boxes.looked_at)} frames looked at"
        remedy = f"lower detect_faces.thresholds ({list(params.thresholds)}) or min_face_size, or look at more frames"
        return failure(job, looked, remedy, (place,))
    return Outcome(job, (place,), {})


def job_of(video: Video, params: Params, reading: Reading) -> Job:
    key = key_of(video.content, params.that_matter(), reading.that_matter())
    return Job(video, key, (f"{video.video}.json",))


def main() -> None:
    where = "where the boxes go (default: data/boxes, or boxes below --data_path)"
    params, given = read_command_line(
        __doc__,
        "detect_faces",
        Params,
        **FLAGS,
        **SCOPE_FLAGS,
        output_path=PlaceFlag(None, where),
        reading=Section("read_video", Reading),
    )
    output = given.output_path or CorpusFolders.of(given.data_path).boxes
    scope = scope_of(given)
    videos, part = videos_of(given), Part(output, partial(job_of, params=params, reading=given.reading))
    with detectors_of(scope.ray, params.detector_settings(), params.device, params.workers) as device:
        work = partial(detect_in_video, output=output, params=replace(params, device=device), reading=given.reading)
        update_outputs(videos, part, work, "detect_faces", params.workers, params.max_failed_fraction, scope)


if __name__ == "__main__":
    run(main)
