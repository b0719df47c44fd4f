"""What it costs to keep the outputs of many videos up to date: seconds for a first run, for nothing to do, for one video more.

    python benchmarks/incremental.py [1000 10000]

The videos are one tiny drawn video, each file with other bytes at its end. They are indexed by the real command. Detection
and extraction of a first run are the real commands too, but for their work: instead of looking at a video they write what
was found in the drawn one, so that what is left is the upkeep. "Nothing to do" and "one video more" are the real commands,
detector and all; what the one video costs by itself is measured in a project that has no other.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from importlib import import_module
from os import chdir
from pathlib import Path
from statistics import median
from unittest.mock import patch

from pipeline.incremental import Job, Outcome, Part, update_outputs
from pipeline.index import Video
from pipeline.outputs import atomic_write, write_bytes
from pipeline.project import CODE

OUTPUTS = {"index_videos": "index", "detect_faces": "boxes", "extract_crops": "crops"}
COMMANDS = tuple(OUTPUTS)
VIDEOS = "data/videos/original_sequences/youtube/c23/videos"


def project(folder: Path) -> Path:
    (folder / VIDEOS).mkdir(parents=True)
    shutil.copy(CODE / "params.yaml", folder)
    (folder / "dvc.yaml").touch()
    return folder


def seconds_of(command: str, folder: Path) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, CODE / "preprocessing" / f"{command}.py"], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begun


def seconds_of_work(command: str, folder: Path) -> float:
    """What the folder's videos cost the command, start-up excluded; the middle one of three."""
    seconds = []
    for _ in range(3):
        shutil.rmtree(folder / "data" / OUTPUTS[command], ignore_errors=True)
        seconds.append(seconds_of(command, folder) - seconds_of(command, folder))
    return median(seconds)


def pretend(job: Job, folder: Path, found: Path, facts: dict) -> Outcome:
    """The job's output is a copy of what was found in the drawn video."""
    for output in job.outputs:
        if found.is_dir():
            with atomic_write(folder / output) as unfinished:
                shutil.copytree(found, unfinished)
        else:
            write_bytes(folder / output, found.read_bytes())
    return Outcome(job, job.outputs, facts)


def seconds_of_upkeep(command: str, folder: Path, found: Path, facts: dict) -> float:
    """Of a first run of the command, with the work taken out of it."""
    stage = import_module(f"preprocessing.{command}")

    def keep_up_alone(videos: Iterable[Video], part: Part, work: object, *others: object) -> None:
        update_outputs(videos, part, partial(pretend, folder=part.folder, found=found, facts=facts), *others)  # type: ignore[arg-type]

    chdir(folder)
    with patch.object(stage, "keep_up", keep_up_alone), patch.object(sys, "argv", [command]):
        begun = time.perf_counter()
        stage.main()
        return time.perf_counter() - begun


def add_videos(folder: Path, drawn: Path, count: int) -> None:
    for number in range(count):
        (folder / VIDEOS / f"{number:05d}.mp4").write_bytes(drawn.read_bytes() + f"{number:05d}".encode())


def measure(folder: Path, drawn: Path, alone: Path, count: int) -> Iterator[tuple[str, float, float, float]]:
    """For each command: seconds of a first run, of nothing to do, and of one video more."""
    add_videos(project(folder), drawn, count)
    boxes = next((alone / "data/boxes").glob("*/*.json"))
    crops = next((alone / "data/crops").glob("*/*/*"))
    line = (alone / "data/crops/ledger.jsonl").read_text()
    first = {
        "index_videos": seconds_of("index_videos", folder),
        "detect_faces": seconds_of_upkeep("detect_faces", folder, boxes, {}),
        "extract_crops": seconds_of_upkeep("extract_crops", folder, crops, {"crops": line}),
    }
    nothing = {command: seconds_of(command, folder) for command in COMMANDS}
    shutil.copy(drawn, folder / VIDEOS / "one_more.mp4")
    for command in COMMANDS:
        yield command, first[command], nothing[command], seconds_of(command, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1000, 10000], help="of videos (default: 1000 10000)")
    counts = parser.parse_args().counts
    sys.path.insert(0, str(CODE / "tests"))
    from little_videos import face_video  # draws what a detector takes for a face

    with tempfile.TemporaryDirectory() as scratch:
        alone = project(Path(scratch) / "alone")
        drawn = face_video(alone / VIDEOS / "drawn.mp4", seed=0)
        own = {command: seconds_of_work(command, alone) for command in COMMANDS}
        print("| videos | command | first run, per video | nothing to do | one video more | beyond its own work |")
        print("| --- | --- | --- | --- | --- | --- |")
        for count in counts:
            for command, first, nothing, more in measure(Path(scratch) / str(count), drawn, alone, count):
                cells = f"{1000 * first / count:.1f} ms", f"{nothing:.2f} s", f"{more:.2f} s", f"{more - own[command]:.2f} s"
                print(f"| {count} | {command} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
