"""Stages detect_faces and extract_crops together, with one decoding of each video."""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from explain_deepfakes.pipeline.incremental import Outcome, StageFolder, StaleItem, scope_from_args, update_all_outputs
from explain_deepfakes.pipeline.outputs import remove
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.corpus.folders import CorpusFolders
from explain_deepfakes.preprocessing.corpus.source import select_videos
from explain_deepfakes.preprocessing.crops import stage as crops_stage
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.crops.stage import CropPaths
from explain_deepfakes.preprocessing.faces import stage as faces_stage
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.faces.ray_detector import ray_detectors
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import OpenVideo, UnreadableVideo, open_video


def preprocess_video(
    item: StaleItem, paths: CropPaths, detection_params: DetectionParams, crop_params: CropParams, reading: ReadingParams
) -> Sequence[Outcome | None]:
    video = next(task.video for task in item if task)
    work = partial(detect_and_extract, item, paths, detection_params, crop_params, reading)
    try:
        with open_video(from_root(video.path), reading) as opened:
            return work(opened)
    except UnreadableVideo:  # both stages then open it themselves, and report the failure
        return work(None)


def detect_and_extract(
    item: StaleItem,
    paths: CropPaths,
    detection_params: DetectionParams,
    crop_params: CropParams,
    reading: ReadingParams,
    opened: OpenVideo | None,
) -> Sequence[Outcome | None]:
    to_detect, to_extract = item
    detected = extracted = None
    if to_detect:
        detected = faces_stage.detect_in_video(to_detect, paths.boxes, detection_params, reading, opened)
        for unwritten in set(to_detect.outputs).difference(detected.outputs):
            remove(paths.boxes / unwritten)
    if to_extract:
        task = crops_stage.make_task(to_extract.video, paths, crop_params, reading)  # its key includes the new boxes
        extracted = crops_stage.extract_video(task, paths, crop_params, reading, opened)
    return detected, extracted


def detect_and_extract_all(detection_params: DetectionParams, args: Namespace) -> None:
    crop_params = load_params("extract_crops", CropParams)
    folders = CorpusFolders.at(args.data_path)
    boxes_path, crops_path = args.boxes_path or folders.boxes, args.output_path or folders.crops
    paths = CropPaths(boxes_path, crops_path, with_split=True, store=crop_params.store)
    scope, videos = scope_from_args(args), select_videos(args)
    crops_stage.refuse_ambiguous_boxes(videos, paths)
    make_boxes = partial(faces_stage.make_task, params=detection_params, reading=args.reading)
    make_crops = partial(crops_stage.make_task, paths=paths, params=crop_params, reading=args.reading)
    detection_settings = detection_params.recorded_settings()
    stages = [
        StageFolder(paths.boxes, make_boxes, detection_settings),
        StageFolder(paths.crops, make_crops, {**detection_settings, **crop_params.recorded_settings()}),
    ]
    workers, max_failed_fraction = detection_params.workers, detection_params.max_failed_fraction
    with ray_detectors(scope.ray, detection_params.face_detector_settings(), detection_params.device, workers) as device:
        in_worker = detection_params.in_worker(device)
        work = partial(preprocess_video, paths=paths, detection_params=in_worker, crop_params=crop_params, reading=args.reading)
        update_all_outputs(videos, stages, work, "preprocess", workers, max_failed_fraction, scope)
    paths.masks.mkdir(exist_ok=True)
