"""What DVC itself costs for many crops, kept as folders of pictures and as one uncompressed zip a video.

    python benchmarks/dvc_store.py [--videos 5000] [--crops 20]

In a scratch repository, for each store: seconds of `dvc add` the first time, of `dvc status` with nothing changed, of `dvc add`
after one video more, and of `dvc checkout` after the folder was lost.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

BYTES_A_CROP = 30_000  # of a face of 300 px, as PNG


def dvc(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words, "--quiet"], cwd=folder, check=True)


def seconds_of(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def pictures(video: int, crops: int) -> dict[str, bytes]:
    """Bytes that are nobody else's and do not compress, as those of PNGs."""
    rng = np.random.default_rng(video)
    return {f"{frame}_0.png": rng.bytes(BYTES_A_CROP) for frame in range(crops)}


def as_folder(path: Path, content: dict[str, bytes]) -> None:
    path.mkdir(parents=True)
    for name, picture in content.items():
        (path / name).write_bytes(picture)


def as_archive(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path.with_name(f"{path.name}.zip"), "w") as archive:
        for name, picture in content.items():
            archive.writestr(name, picture)


def measure(folder: Path, store: Callable[[Path, dict[str, bytes]], None], videos: int, crops: int) -> list[float]:
    folder.mkdir()
    dvc(folder, "init", "--no-scm")
    place = folder / "crops" / "training_set" / "Original"
    for video in range(videos):
        store(place / f"{video:05d}", pictures(video, crops))
    seconds = [seconds_of(lambda: dvc(folder, "add", "crops")), seconds_of(lambda: dvc(folder, "status"))]
    store(place / "one_more", pictures(videos, crops))
    seconds.append(seconds_of(lambda: dvc(folder, "add", "crops")))
    shutil.rmtree(folder / "crops")
    return [*seconds, seconds_of(lambda: dvc(folder, "checkout"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=5000)
    parser.add_argument("--crops", type=int, default=20, help="of each video")
    given = parser.parse_args()
    print("| store | crops | files | add, first time | status, unchanged | add, one video more | checkout |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, store, files in (("folders", as_folder, given.crops), ("archives", as_archive, 1)):
        with tempfile.TemporaryDirectory() as scratch:
            seconds = measure(Path(scratch) / name, store, given.videos, given.crops)
        cells = " | ".join(f"{one:.1f} s" for one in seconds)
        print(f"| {name} | {given.videos * given.crops} | {given.videos * files} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
