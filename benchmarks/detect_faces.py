"""Detection measured against the published way of it, video by video, in turns on the same machine.

    python benchmarks/detect_faces.py VIDEO… [--repeats 3]

The published way: OpenCV reads every frame, PIL halves it, facenet-pytorch's MTCNN looks at batches of 32 with thresholds
0.85, 0.95 and 0.95. Ours: `detect_faces --every-frame`, and `detect_faces --frames 20` with `extract_crops` after it. Both
have their networks loaded and one pass behind them before the clock starts. A face of the published pass is met if one of
ours overlaps it by 0.5 (0.8) as intersection over union; faces beyond its own are counted too.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from scipy.optimize import linear_sum_assignment

from pipeline.params import load_params
from preprocessing import detection, extraction
from preprocessing.crop_stores import fill
from preprocessing.face_detector import Box, overlap
from preprocessing.video import Reading

PUBLISHED_BATCH, PUBLISHED_SCALE = 32, 2
CROPS = 20
Boxes = dict[int, list[Box]]  # by frame, in pixels of the full picture


def detect_as_published(path: Path, mtcnn: MTCNN, threads: int) -> Boxes:
    torch.set_num_threads(threads)  # all that torch takes of itself; our detector takes but one and works side by side
    frames, capture = [], cv2.VideoCapture(str(path))
    while True:
        success, frame = capture.read()
        if not success:
            break
        picture = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        frames.append(picture.resize([side // PUBLISHED_SCALE for side in picture.size]))
    found: Boxes = {}
    for first in range(0, len(frames), PUBLISHED_BATCH):
        boxes, _ = mtcnn.detect(frames[first : first + PUBLISHED_BATCH], landmarks=False)
        for index, here in enumerate(boxes, first):
            full = PUBLISHED_SCALE * np.array([] if here is None else here, float).reshape(-1, 4)
            found[index] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in full.tolist()]
    return found


def detect_every_frame(path: Path, params: detection.Params, reading: Reading) -> Boxes:
    torch.set_num_threads(1)
    boxes = detection.find_boxes(path, path.stem, params, reading)
    return {index: [tracked.face.box for tracked in boxes.frames.get(index, ())] for index in boxes.looked_at}


def make_crops(path: Path, params: detection.Params, cutting: extraction.Params, reading: Reading) -> int:
    torch.set_num_threads(1)
    boxes = detection.find_boxes(path, path.stem, params, reading)
    faces = extraction.chosen_faces(boxes.frames, cutting)
    with tempfile.TemporaryDirectory() as folder, fill(Path(folder) / "crops", cutting.store) as put:
        return len(extraction.write_crops(path, faces, put, cutting, reading))


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


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def measure(path: Path, mtcnn: MTCNN, threads: int, repeats: int) -> str:
    reading = load_params("read_video", Reading)
    every = load_params("detect_faces", detection.Params, {"every_frame": True})
    spaced = load_params("detect_faces", detection.Params, {"frames": CROPS})
    cutting = load_params("extract_crops", extraction.Params)
    make_crops(path, spaced, cutting, reading)  # so that all of them find file and networks in memory
    ways: dict[str, Callable[[], Any]] = {
        "published": lambda: detect_as_published(path, mtcnn, threads),
        "every": lambda: detect_every_frame(path, every, reading),
        "crops": lambda: make_crops(path, spaced, cutting, reading),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            took, results[name] = timed(way)
            seconds[name].append(took)
    frames = len(results["published"])
    faces, half, close, beyond = count_met(results["published"], results["every"])
    ratio = {name: median(a / b for a, b in zip(seconds["published"], seconds[name], strict=True)) for name in ways}
    share = [f"{part / faces:.1%}" if faces else "-" for part in (half, close)]
    rates = [f"{frames / median(seconds[name]):.1f}" for name in ("published", "every")]
    cells = [path.stem, frames, faces, *rates, f"{ratio['every']:.1f}x", *share, beyond, results["crops"]]
    return _line(*cells, f"{median(seconds['crops']):.2f}", f"{ratio['crops']:.1f}x")


def _line(first: object, *others: object) -> str:
    return f"{first!s:<18}" + "".join(f"{other!s:>11}" for other in others)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--repeats", type=int, default=3, help="the median of which is given")
    given = parser.parse_args()
    mtcnn = MTCNN(device="cpu", thresholds=[0.85, 0.95, 0.95], margin=0)
    threads = torch.get_num_threads()
    warm_up = np.zeros((2, 256, 256, 3), np.uint8)
    mtcnn.detect([Image.fromarray(picture) for picture in warm_up])
    print(_line("", "", "", "frames/s", "frames/s", "", "met at", "met at", "faces", "", "s to", ""))
    print(_line("video", "frames", "faces", "published", "ours", "ratio", "0.5", "0.8", "beyond", "crops", "crops", "ratio"))
    for path in given.videos:
        print(measure(path, mtcnn, threads, given.repeats), flush=True)


if __name__ == "__main__":
    main()
