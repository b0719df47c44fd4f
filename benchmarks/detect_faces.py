"""Detection measured against the published way of it, video by video, in turns on the same machine.

    python benchmarks/detect_faces.py VIDEO… [--repeats 3]

The published way: OpenCV reads every frame, PIL halves it, facenet-pytorch's MTCNN looks at batches of 32 with thresholds
0.85, 0.95 and 0.95, in a process of its own. Ours: `detect_faces --every-frame`; and `detect_faces --frames 20` with
`extract_crops` after it, of one video alone, and of many copies of it by as many workers as there are cores, the time of
each. All have their networks loaded and one pass behind them before the clock starts. A face of the published pass is met
if one of ours overlaps it by 0.5 (0.8) as intersection over union; faces beyond its own are counted too.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from facenet_pytorch import MTCNN
from PIL import Image
from scipy.optimize import linear_sum_assignment

from pipeline.params import load_params
from pipeline.workers import map_unordered
from preprocessing.crops import extraction
from preprocessing.crops.stores import fill
from preprocessing.faces import detection
from preprocessing.faces.boxes import read_boxes, write_boxes
from preprocessing.faces.face import Box, overlap
from preprocessing.video.video import Reading, open_video

PUBLISHED_BATCH, PUBLISHED_SCALE = 32, 2
CROPS, COPIES = 20, 30
COLUMNS = ("frames", "faces", "published", "ours", "ratio", "0.5", "0.8", "beyond", "crops", "s", "ratio", "s", "ratio")
Boxes = dict[int, list[Box]]  # by frame, in pixels of the full picture


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
    found: Boxes = {}
    for first in range(0, len(frames), PUBLISHED_BATCH):
        boxes, _ = published_detector().detect(frames[first : first + PUBLISHED_BATCH], landmarks=False)
        for index, here in enumerate(boxes, first):
            full = PUBLISHED_SCALE * np.array([] if here is None else here, float).reshape(-1, 4)
            found[index] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in full.tolist()]
    return found


def detect_every_frame(path: Path, params: detection.Params, reading: Reading) -> Boxes:
    with open_video(path, reading) as video:
        boxes = detection.find_boxes(video, path.stem, params)
    return {index: [tracked.face.box for tracked in boxes.frames.get(index, ())] for index in boxes.looked_at}


def make_crops(path: Path, params: detection.Params, cutting: extraction.Params, reading: Reading) -> int:
    with tempfile.TemporaryDirectory() as folder, open_video(path, reading) as video:
        file = Path(folder) / "boxes.json"
        write_boxes(file, detection.find_boxes(video, path.stem, params))
        faces = extraction.chosen_faces(read_boxes(file).frames, cutting)
        with fill(Path(folder) / "crops", cutting.store) as put:
            return len(extraction.write_crops(video, faces, put, cutting))


def make_crops_in_pool(path: Path, params: detection.Params, cutting: extraction.Params, reading: Reading) -> float:
    """Seconds a video."""
    workers, begun = os.cpu_count() or 1, 0.0
    work = partial(make_crops, params=params, cutting=cutting, reading=reading)
    for done, _ in enumerate(map_unordered(work, [path] * (workers + COPIES), workers), 1):
        if done == workers:  # each has loaded its networks and made its first crops
            begun = time.perf_counter()
    return (time.perf_counter() - begun) / COPIES


def count_met(published: Boxes, ours: Boxes) -> tuple[int, int, int, int]:
    """Faces of the published pass; those met at 0.5 and at 0.8; faces of ours beyond them."""
    faces = half = close = beyond = 0
    for index, theirs in published.items():
        here = ours.get(index, [])
        overlaps = np.array([[overlap(one, other) for other in here] for one in theirs]).reshape(len(theirs), len(here))
        best = overlaps[linear_sum_assignment(-overlaps)]
        faces, half, close = faces + len(theirs), half + int((best >= 0.5).sum()), close + int((best >= 0.8).sum())
        beyond += len(here) - int((best >= 0.5).sum())
    return faces, half, close, beyond


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - begun, result


def measure(path: Path, published: Callable[[Path], tuple[float, Boxes]], repeats: int) -> str:
    reading = load_params("read_video", Reading)
    every = load_params("detect_faces", detection.Params, {"every_frame": True})
    spaced = load_params("detect_faces", detection.Params, {"frames": CROPS})
    cutting = load_params("extract_crops", extraction.Params)
    ways: dict[str, Callable[[], tuple[float, Any]]] = {
        "published": lambda: published(path),
        "every": lambda: timed(detect_every_frame, path, every, reading),
        "crops": lambda: timed(make_crops, path, spaced, cutting, reading),
        "pool": lambda: (make_crops_in_pool(path, spaced, cutting, reading), None),
    }
    ways["published"](), ways["crops"]()  # so that all of them find file and networks in memory
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            took, results[name] = way()
            seconds[name].append(took)
    frames = len(results["published"])
    faces, half, close, beyond = count_met(results["published"], results["every"])
    share = [f"{part / faces:.1%}" if faces else "-" for part in (half, close)]
    rates = [f"{frames / median(seconds[name]):.1f}" for name in ("published", "every")]
    ratio = {name: f"{median(a / b for a, b in zip(seconds['published'], seconds[name], strict=True)):.1f}x" for name in ways}
    crops = [
        results["crops"],
        f"{median(seconds['crops']):.2f}",
        ratio["crops"],
        f"{median(seconds['pool']):.2f}",
        ratio["pool"],
    ]
    return _line(path.stem, frames, faces, *rates, ratio["every"], *share, beyond, *crops)


def _apart(process: Pool, path: Path) -> tuple[float, Boxes]:
    return process.apply(timed, (detect_as_published, path))


def _line(first: object, *others: object) -> str:
    return f"{first!s:<18}" + "".join(f"{other!s:>10}" for other in others)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--repeats", type=int, default=3, help="the median of which is given")
    given = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1) as own_process:
        print(f"{'':<38}{'frames/s':>20}{'':>10}{'met at':>20}{'faces':>10}{'':>10}{'alone':>20}{'in a pool':>20}")
        print(_line("video", *COLUMNS))
        for path in given.videos:
            print(measure(path, partial(_apart, own_process), given.repeats), flush=True)


if __name__ == "__main__":
    main()
