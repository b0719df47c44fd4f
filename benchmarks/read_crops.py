"""Speed of reading crops from folders and archives in random order, and the size and cost of each picture format.

    python benchmarks/read_crops.py [--crops data/crops] [--count 2000]

Copies existing crops into both stores in every format, in a temporary folder. Prints the size of a crop, the time to encode
it, and the time to read it: its bytes only, and decoded. The files are in the page cache, so disk speed is not measured.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2

from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.preprocessing.crops.crops import Crop, read_crops
from explain_deepfakes.preprocessing.crops.params import STORES, SUFFIXES
from explain_deepfakes.preprocessing.crops.stores import encode_picture, output_name, picture_writer, read_bytes, read_crop

QUALITY, ROUNDS = 95, 5


def copy_crops(crops: list[Crop], folder: Path, store: str, format: str) -> tuple[list[Path], float]:
    """Copy crops into a store; return their paths and the seconds that encoding took."""
    paths, seconds = [], 0.0
    for video in sorted({crop.video for crop in crops}):
        output = folder / output_name(video, store)
        with picture_writer(output, store) as write:
            for crop in (crop for crop in crops if crop.video == video):
                picture, name = read_crop(crop.path), f"{crop.frame}_{crop.track}{SUFFIXES[format]}"
                start = time.perf_counter()
                content = encode_picture(picture, format, QUALITY)
                seconds += time.perf_counter() - start
                write(name, content)
                paths.append(output / name)
    return paths, seconds


def time_reads(read: Callable[[Path], object], paths: Iterable[Path]) -> float:
    """Seconds to read all paths."""
    start = time.perf_counter()
    for path in paths:
        read(path)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--crops", type=Path, default=Path("data/crops"), help="folder of crops (default: data/crops)")
    parser.add_argument("--count", type=int, default=2000, help="number of crops (default: 2000)")
    args = parser.parse_args()
    crops = read_crops(args.crops)[: args.count]
    if not crops:
        raise UserError(f"{args.crops} has no crops; name another folder with --crops")
    cv2.setNumThreads(1)
    videos = len({crop.video for crop in crops})
    print(f"{len(crops)} crops of {videos} videos; microseconds per crop, best of {ROUNDS} interleaved rounds")
    print(f"{'format':8}{'store':10}{'kB':>8}{'encode':>8}{'bytes':>8}{'decoded':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for format in SUFFIXES:
            copies = {store: copy_crops(crops, Path(folder) / format / store, store, format) for store in STORES}
            for paths, _ in copies.values():
                random.Random(0).shuffle(paths)
            best: dict[tuple[str, str], float] = {}
            for _ in range(ROUNDS):
                for store, (paths, _) in copies.items():
                    for what, read in (("bytes", read_bytes), ("decoded", read_crop)):
                        best[store, what] = min(time_reads(read, paths), best.get((store, what), float("inf")))
            for store, (paths, encoding) in copies.items():
                size = sum(len(read_bytes(path)) for path in paths) / len(paths) / 1000
                encode, raw, decoded = (
                    1e6 * seconds / len(paths) for seconds in (encoding, best[store, "bytes"], best[store, "decoded"])
                )
                print(f"{format:8}{store:10}{size:8.1f}{encode:8.0f}{raw:8.0f}{decoded:9.0f}")


if __name__ == "__main__":
    run(main)
