"""DVC's own cost for many crops, stored as folders of pictures and as one uncompressed zip archive per video.

    python benchmarks/dvc_store.py [--videos 5000] [--crops 20]

For each store, in a temporary repository: seconds of the first `dvc add`, of `dvc status` with no change, of `dvc add` after
adding one video, and of `dvc checkout` after deleting the folder.
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

BYTES_PER_CROP = 30_000  # size of a 300 px face crop as PNG


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "--quiet"], cwd=folder, check=True)


def time_call(call: Callable[[], None]) -> float:
    """Seconds that the call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def random_pictures(video: int, crops: int) -> dict[str, bytes]:
    """Unique incompressible bytes, like those of PNG files."""
    rng = np.random.default_rng(video)
    return {f"{frame}_0.png": rng.bytes(BYTES_PER_CROP) for frame in range(crops)}


def write_folder(path: Path, content: dict[str, bytes]) -> None:
    path.mkdir(parents=True)
    for name, picture in content.items():
        (path / name).write_bytes(picture)


def write_archive(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path.with_name(f"{path.name}.zip"), "w") as archive:
        for name, picture in content.items():
            archive.writestr(name, picture)


def benchmark(folder: Path, write: Callable[[Path, dict[str, bytes]], None], videos: int, crops: int) -> list[float]:
    """Seconds of the first add, of status, of the second add and of checkout."""
    folder.mkdir()
    dvc(folder, "init", "--no-scm")
    crops_folder = folder / "crops" / "training_set" / "Original"
    for video in range(videos):
        write(crops_folder / f"{video:05d}", random_pictures(video, crops))
    seconds = [time_call(lambda: dvc(folder, "add", "crops")), time_call(lambda: dvc(folder, "status"))]
    write(crops_folder / "added", random_pictures(videos, crops))
    seconds.append(time_call(lambda: dvc(folder, "add", "crops")))
    shutil.rmtree(folder / "crops")
    return [*seconds, time_call(lambda: dvc(folder, "checkout"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=5000, help="number of videos")
    parser.add_argument("--crops", type=int, default=20, help="crops per video")
    args = parser.parse_args()
    print("| store | crops | files | first add | status, unchanged | add, one more video | checkout |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, write, files in (("folders", write_folder, args.crops), ("archives", write_archive, 1)):
        with tempfile.TemporaryDirectory() as temporary:
            seconds = benchmark(Path(temporary) / name, write, args.videos, args.crops)
        cells = " | ".join(f"{value:.1f} s" for value in seconds)
        print(f"| {name} | {args.videos * args.crops} | {args.videos * files} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
