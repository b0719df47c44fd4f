"""How fast crops are read back from folders and from archives, in random order as training does, and what each format costs.

    python benchmarks/read_crops.py [--crops data/crops] [--count 2000]

Copies crops that lie on disk into both stores, in each format, in a temporary folder; prints sizes, the time to encode a
crop, and the time to read one: its bytes alone, and decoded. Files are in the system's memory, so the disk is not measured.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2

from pipeline.errors import UserError, run
from preprocessing.crops.crops import Crop, read_crops
from preprocessing.crops.stores import STORES, SUFFIXES, encode_picture, fill, in_store, read_bytes, read_crop

QUALITY, ROUNDS = 95, 5


def copy_crops(crops: list[Crop], place: Path, store: str, format: str) -> tuple[list[Path], float]:
    """Where the copies lie, and the seconds that encoding took."""
    paths, seconds = [], 0.0
    for video in sorted({crop.video for crop in crops}):
        output = place / in_store(video, store)
        with fill(output, store) as put:
            for crop in (crop for crop in crops if crop.video == video):
                picture, name = read_crop(crop.path), f"{crop.frame}_{crop.track}{SUFFIXES[format]}"
                begun = time.perf_counter()
                content = encode_picture(picture, format, QUALITY)
                seconds += time.perf_counter() - begun
                put(name, content)
                paths.append(output / name)
    return paths, seconds


def seconds_of(read: Callable[[Path], object], paths: Iterable[Path]) -> float:
    begun = time.perf_counter()
    for path in paths:
        read(path)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--crops", type=Path, default=Path("data/crops"))
    parser.add_argument("--count", type=int, default=2000, help="crops; of each video, all of them")
    given = parser.parse_args()
    crops = read_crops(given.crops)[: given.count]
    if not crops:
        raise UserError(f"{given.crops} has no crop")
    cv2.setNumThreads(1)
    videos = len({crop.video for crop in crops})
    print(f"{len(crops)} crops of {videos} videos; microseconds a crop, best of {ROUNDS} interleaved rounds")
    print(f"{'format':8}{'store':10}{'kB':>8}{'encode':>8}{'bytes':>8}{'decoded':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for format in SUFFIXES:
            made = {store: copy_crops(crops, Path(folder) / format / store, store, format) for store in STORES}
            for paths, _ in made.values():
                random.Random(0).shuffle(paths)
            best: dict[tuple[str, str], float] = {}
            for _ in range(ROUNDS):
                for store, (paths, _) in made.items():
                    for what, read in (("bytes", read_bytes), ("decoded", read_crop)):
                        best[store, what] = min(seconds_of(read, paths), best.get((store, what), float("inf")))
            for store, (paths, encoding) in made.items():
                size = sum(len(read_bytes(path)) for path in paths) / len(paths) / 1000
                times = (1e6 * seconds / len(paths) for seconds in (encoding, best[store, "bytes"], best[store, "decoded"]))
                print(
                    f"{format:8}{store:10}{size:8.1f}" + "".join(f"{t:{w}.0f}" for t, w in zip(times, (8, 8, 9), strict=True))
                )


if __name__ == "__main__":
    run(main)
