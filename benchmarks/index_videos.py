"""Time and memory of indexing large corpora: the numbers in docs/scale.md.

    python benchmarks/index_videos.py [--videos 100000]

Builds a tree of that many videos, and one of a tenth of it, in each layout, and runs the command `index_videos.py` on it.
The videos are one tiny video with a number at its end, since copies of a file count as duplicates; the trees are hard links
to them. The memory is that of the largest process: of many videos the command itself, of few a process that opens files.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from explain_deepfakes.pipeline.project import CODE

FF_METHODS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")
INDEX = "videos.csv"
PART_SIZE = 2_000  # videos per part of DFDC, about as published
SHARES = {"train": 72, "val": 86, "test": 100}  # cumulated percentages of the people


class Tree:
    """A tree of hard links to numbered videos."""

    def __init__(self, root: Path, videos: Sequence[Path]) -> None:
        self.root, self.unused = root, iter(videos)

    def add(self, name: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(next(self.unused))


def split_of(number: int) -> str:
    """The split of a pair of people."""
    return next(split for split, end in SHARES.items() if number // 2 % 100 < end)


def make_dfdc(tree: Tree, count: int) -> None:
    """Parts with a fake for each real video."""
    numbers = range(count // 2)
    for part, begin in enumerate(range(0, len(numbers), PART_SIZE // 2)):
        labels = {}
        for number in numbers[begin : begin + PART_SIZE // 2]:
            real, fake = f"real{number}.mp4", f"fake{number}.mp4"
            tree.add(f"dfdc_train_part_{part}/{real}")
            tree.add(f"dfdc_train_part_{part}/{fake}")
            labels[real] = {"label": "REAL", "split": "train", "original": None}
            labels[fake] = {"label": "FAKE", "split": "train", "original": real}
        (tree.root / f"dfdc_train_part_{part}/metadata.json").write_text(json.dumps(labels))


def make_faceforensics(tree: Tree, count: int) -> None:
    """A fake of each method for each original; neighbours swap faces."""
    people = count // (1 + len(FF_METHODS)) // 2 * 2
    for number in range(people):
        tree.add(f"original_sequences/youtube/c23/videos/{number:06}.mp4")
        for method in FF_METHODS:
            tree.add(f"manipulated_sequences/{method}/c23/videos/{number:06}_{number ^ 1:06}.mp4")
    (tree.root / "splits").mkdir()
    for split in SHARES:
        pairs = [[f"{number:06}", f"{number + 1:06}"] for number in range(0, people, 2) if split_of(number) == split]
        (tree.root / f"splits/{split}.json").write_text(json.dumps(pairs))


def make_folders(tree: Tree, count: int) -> None:
    for number in range(count // 2):
        tree.add(f"real/r{number}.mp4")
        tree.add(f"fake/f{number}.mp4")


def make_manifest(tree: Tree, count: int) -> None:
    rows = [("file", "label", "set", "person", "of")]
    for number in range(count // 2):
        real, fake = (f"clips/{number // 1000}/{label}{number}.mp4" for label in ("real", "fake"))
        tree.add(real)
        tree.add(fake)
        person, split = f"person{number}", split_of(number)
        rows += [(real, "real", split, person, ""), (fake, "fake", split, person, real)]
    with (tree.root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


MANIFEST_FLAGS = ("--manifest", "tree/labels.csv", "--columns", "video=file,label=label,split=set,identity=person,original=of")
LAYOUTS: dict[str, tuple[Callable[[Tree, int], None], tuple[str, ...]]] = {
    "DFDC": (make_dfdc, ()),
    "FaceForensics++": (make_faceforensics, ()),
    "real/ and fake/": (make_folders, ()),
    "manifest": (make_manifest, MANIFEST_FLAGS),
}


def make_videos(folder: Path, count: int) -> list[Path]:
    from little_videos import write_video

    content = write_video(folder / "source.mp4", [np.full((48, 64, 3), shade, np.uint8) for shade in (90, 100)]).read_bytes()
    paths = [folder / f"{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(content + f"{number:09}".encode())
    return paths


def run_index(project: Path, flags: Sequence[str]) -> tuple[float, float, int]:
    """Index the tree in the project; return the seconds of the command, its peak memory (MB) and the number of videos."""
    shutil.copy(CODE / "params.yaml", project)
    (project / "dvc.yaml").touch()
    command = [sys.executable, CODE / "preprocessing/index_videos.py", "--data_path", "tree", "--output_path", INDEX, *flags]
    start = time.perf_counter()
    with (project / "errors.txt").open("w+") as errors:
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        errors.seek(0)
        if status:
            sys.exit(errors.read())
    with (project / INDEX).open() as file:
        return seconds, usage.ru_maxrss / 1024, sum(1 for _ in file) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--videos", type=int, default=100_000, help="videos per corpus (default: %(default)s)")
    count = parser.parse_args().videos
    sys.path.insert(0, str(CODE / "tests"))
    print("| layout | videos | seconds | videos per second | peak memory |\n| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        videos = make_videos(Path(temporary) / "videos", count)
        for layout, (make, flags) in LAYOUTS.items():
            for size in (count // 10, count):
                with tempfile.TemporaryDirectory(dir=temporary) as folder:
                    tree = Tree(Path(folder) / "tree", videos)
                    make(tree, size)
                    seconds, peak, indexed = run_index(Path(folder), flags)
                print(f"| {layout} | {indexed:,} | {seconds:.1f} | {indexed / seconds:.0f} | {peak:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
