"""Stage detect_faces: the boxes of each video, with incremental updates."""

from argparse import Namespace
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from explain_deepfakes.pipeline.incremental import Outcome, StageFolder, VideoTask, failure, scope_from_args, update_outputs
from explain_deepfakes.pipeline.index import CROPS, Video
from explain_deepfakes.pipeline.ledger import key_of
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.corpus.folders import CorpusFolders
from explain_deepfakes.preprocessing.corpus.source import select_videos
from explain_deepfakes.preprocessing.faces.boxes import write_boxes
from explain_deepfakes.preprocessing.faces.detection import find_boxes, whole_frame_boxes
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.faces.ray_detector import ray_detectors
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import OpenVideo, UnreadableVideo, open_video


def detect_in_video(
    task: VideoTask, output: Path, params: DetectionParams, reading: ReadingParams, opened: OpenVideo | None = None
) -> Outcome:
    """Write the boxes of a video. `opened` is the video if it is already open."""
    try:
        with nullcontext(opened) if opened else open_video(from_root(task.video.path), reading) as video:
            detect = whole_frame_boxes if task.video.kind == CROPS else find_boxes
            boxes = detect(video, task.video.video, params)
    except UnreadableVideo as error:
        return failure(task, error.reason, error.remedy)
    (file_name,) = task.outputs
    write_boxes(output / file_name, boxes)
    if not boxes.frames:
        reason = f"no face was found in the {len(boxes.analysed_frames)} analysed frames"
        remedy = f"lower detect_faces.thresholds ({list(params.thresholds)}) or min_face_size, or analyse more frames"
        return failure(task, reason, remedy, (file_name,))
    return Outcome(task, (file_name,), {})


def make_task(video: Video, params: DetectionParams, reading: ReadingParams) -> VideoTask:
    key = key_of(video.content, *video.key_of_kind(), params.relevant_params(), reading.relevant_params())
    return VideoTask(video, key, (f"{video.video}.json",))


def detect_faces(params: DetectionParams, args: Namespace) -> None:
    output = args.output_path or CorpusFolders.at(args.data_path).boxes
    scope = scope_from_args(args)
    videos, make_boxes = select_videos(args), partial(make_task, params=params, reading=args.reading)
    stage = StageFolder(output, make_boxes, params.recorded_settings())
    with ray_detectors(scope.ray, params.face_detector_settings(), params.device, params.workers) as device:
        work = partial(detect_in_video, output=output, params=params.in_worker(device), reading=args.reading)
        update_outputs(videos, stage, work, "detect_faces", params.workers, params.max_failed_fraction, scope)
