"""Speed and agreement of face detection, compared with the published method in alternating runs.

    python benchmarks/detect_faces.py VIDEO... [--repeats 3]

Published method: OpenCV reads every frame, PIL halves its size, and facenet-pytorch's MTCNN detects faces in batches of 32
with thresholds 0.85, 0.95 and 0.95, in its own process. Ours: `detect_faces --every-frame`, and `detect_faces --frames 20`
followed by `extract_crops`, for a single video and for many copies of it with one worker per core (time per video). Networks
are loaded and warmed up before timing. A published face is matched if one of ours overlaps it with an intersection over
union of at least 0.5 (0.8). Our additional faces are counted too.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from typing import TypeVar

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.workers import map_unordered
from explain_deepfakes.preprocessing.crops import extraction
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.crops.stores import picture_writer
from explain_deepfakes.preprocessing.faces import detection
from explain_deepfakes.preprocessing.faces.boxes import read_boxes, write_boxes
from explain_deepfakes.preprocessing.faces.face import Box
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import open_video

PUBLISHED_BATCH, PUBLISHED_SCALE = 32, 2
CROPS, COPIES = 20, 30
COLUMNS = ("frames", "faces", "published", "ours", "ratio", "0.5", "0.8", "more", "crops", "s", "ratio", "s", "ratio")
Boxes = dict[int, list[Box]]  # by frame index, in pixels of the full frame
Result = TypeVar("Result")


@cache
def published_detector() -> MTCNN:
    return MTCNN(device="cpu", thresholds=[0.85, 0.95, 0.95], margin=0)


def detect_as_published(path: Path) -> Boxes:
    frames, capture = [], cv2.VideoCapture(str(path))
    while True:
        success, frame = capture.read()
        if not success:
            break
        picture = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        frames.append(picture.resize([side // PUBLISHED_SCALE for side in picture.size]))
    boxes_of: Boxes = {}
    for first in range(0, len(frames), PUBLISHED_BATCH):
        boxes, _ = published_detector().detect(frames[first : first + PUBLISHED_BATCH], landmarks=False)
        for index, frame_boxes in enumerate(boxes, first):
            scaled = PUBLISHED_SCALE * np.array([] if frame_boxes is None else frame_boxes, float).reshape(-1, 4)
            boxes_of[index] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in scaled.tolist()]
    return boxes_of


def detect_every_frame(path: Path, params: DetectionParams, reading: ReadingParams) -> Boxes:
    with open_video(path, reading) as video:
        boxes = detection.find_boxes(video, path.stem, params)
    return {index: [tracked.face.box for tracked in boxes.frames.get(index, ())] for index in boxes.analysed_frames}


def make_crops(path: Path, params: DetectionParams, crop_params: CropParams, reading: ReadingParams) -> int:
    """Detect faces and write their crops; return the number of crops."""
    with tempfile.TemporaryDirectory() as folder, open_video(path, reading) as video:
        file = Path(folder) / "boxes.json"
        write_boxes(file, detection.find_boxes(video, path.stem, params))
        faces = extraction.select_faces(read_boxes(file).frames, crop_params)
        with picture_writer(Path(folder) / "crops", crop_params.store) as write:
            return len(extraction.write_crops(video, faces, write, crop_params))


def time_crops_in_pool(path: Path, params: DetectionParams, crop_params: CropParams, reading: ReadingParams) -> float:
    """Seconds per video with one worker per core."""
    workers, start = os.cpu_count() or 1, 0.0
    work = partial(make_crops, params=params, crop_params=crop_params, reading=reading)
    for done, _ in enumerate(map_unordered(work, [path] * (workers + COPIES), workers), 1):
        if done == workers:  # about now, all workers have loaded the networks
            start = time.perf_counter()
    return (time.perf_counter() - start) / COPIES


@dataclass
class BoxComparison:
    """Counts of faces of the published method and of our additional faces."""

    published: int = 0
    matched_50: int = 0  # published faces with one of ours at an intersection over union of 0.5
    matched_80: int = 0
    additional: int = 0  # faces of ours without a match at 0.5


def compare_boxes(published: Boxes, ours: Boxes) -> BoxComparison:
    counts = BoxComparison()
    for index, published_boxes in published.items():
        our_boxes = ours.get(index, [])
        overlaps = box_iou(torch.tensor(published_boxes).reshape(-1, 4), torch.tensor(our_boxes).reshape(-1, 4)).numpy()
        best = overlaps[linear_sum_assignment(-overlaps)]
        matched = int((best >= 0.5).sum())
        counts.published += len(published_boxes)
        counts.matched_50 += matched
        counts.matched_80 += int((best >= 0.8).sum())
        counts.additional += len(our_boxes) - matched
    return counts


def timed(work: Callable[..., Result], *arguments: object) -> tuple[float, Result]:
    """Call the function; return the seconds it takes and its result."""
    start = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - start, result


def benchmark(path: Path, detect_published: Callable[[Path], tuple[float, Boxes]], repeats: int) -> str:
    """A row of the table for one video."""
    reading = load_params("read_video", ReadingParams)
    every_frame = load_params("detect_faces", DetectionParams, {"every_frame": True})
    spaced = load_params("detect_faces", DetectionParams, {"frames": CROPS})
    crop_params = load_params("extract_crops", CropParams)
    _, published = detect_published(path)  # the first calls load the networks and the file into memory
    crops = make_crops(path, spaced, crop_params, reading)
    ours: Boxes = {}
    seconds: dict[str, list[float]] = {name: [] for name in ("published", "every frame", "crops", "pool")}
    for _ in range(repeats):
        duration, published = detect_published(path)
        seconds["published"].append(duration)
        duration, ours = timed(detect_every_frame, path, every_frame, reading)
        seconds["every frame"].append(duration)
        duration, crops = timed(make_crops, path, spaced, crop_params, reading)
        seconds["crops"].append(duration)
        seconds["pool"].append(time_crops_in_pool(path, spaced, crop_params, reading))
    counts = compare_boxes(published, ours)
    shares = [f"{n / counts.published:.1%}" if counts.published else "-" for n in (counts.matched_50, counts.matched_80)]
    rates = [f"{len(published) / median(seconds[name]):.1f}" for name in ("published", "every frame")]
    speedup = {
        name: f"{median(theirs / mine for theirs, mine in zip(seconds['published'], durations, strict=True)):.1f}x"
        for name, durations in seconds.items()
    }
    crop_cells = [crops, f"{median(seconds['crops']):.2f}", speedup["crops"], f"{median(seconds['pool']):.2f}", speedup["pool"]]
    detection_cells = [len(published), counts.published, *rates, speedup["every frame"], *shares, counts.additional]
    return _line(path.stem, *detection_cells, *crop_cells)


def _run_in_pool(pool: Pool, path: Path) -> tuple[float, Boxes]:
    return pool.apply(timed, (detect_as_published, path))


def _line(first: object, *cells: object) -> str:
    return f"{first!s:<18}" + "".join(f"{cell!s:>10}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="video files")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs; the median is reported")
    args = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(f"{'':<38}{'frames/s':>20}{'':>10}{'matched at':>20}{'faces':>10}{'':>10}{'one worker':>20}{'one per core':>20}")
        print(_line("video", *COLUMNS))
        for path in args.videos:
            print(benchmark(path, partial(_run_in_pool, pool), args.repeats), flush=True)


if __name__ == "__main__":
    main()
