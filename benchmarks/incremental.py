"""Overhead of incremental runs over many videos: the first run, a run with nothing to do, and a run with one more video.

    python benchmarks/incremental.py [1000 10000]

The videos are copies of one small synthetic video with different bytes at the end. Indexing is the real command. In the
first run of detection and extraction, the work on a video is replaced by copying the outputs of the synthetic video, so only
the bookkeeping is measured. The other runs are the real commands. The cost of one video itself is measured in a project
without other videos.
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

from explain_deepfakes.pipeline.incremental import Outcome, StageFolder, VideoTask, update_outputs
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.outputs import atomic_write, write_bytes
from explain_deepfakes.pipeline.project import CODE

OUTPUTS = {"index_videos": "index", "detect_faces": "boxes", "extract_crops": "crops"}
COMMANDS = tuple(OUTPUTS)
VIDEOS = "data/videos/original_sequences/youtube/c23/videos"


def project(folder: Path) -> Path:
    (folder / VIDEOS).mkdir(parents=True)
    shutil.copy(CODE / "params.yaml", folder)
    (folder / "dvc.yaml").touch()
    return folder


def time_command(command: str, folder: Path) -> float:
    """Seconds of one run of the command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, CODE / "preprocessing" / f"{command}.py"], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def time_work(command: str, folder: Path) -> float:
    """Seconds that the command works on the folder's videos, without start-up; the median of three runs."""
    seconds = []
    for _ in range(3):
        shutil.rmtree(folder / "data" / OUTPUTS[command], ignore_errors=True)
        seconds.append(time_command(command, folder) - time_command(command, folder))
    return median(seconds)


def copy_outputs(task: VideoTask, folder: Path, output_to_copy: Path, facts: dict[str, str]) -> Outcome:
    """Copy the output of the synthetic video instead of working on the video."""
    for output in task.outputs:
        if output_to_copy.is_dir():
            with atomic_write(folder / output) as unfinished:
                shutil.copytree(output_to_copy, unfinished)
        else:
            write_bytes(folder / output, output_to_copy.read_bytes())
    return Outcome(task, task.outputs, facts)


def time_bookkeeping(command: str, folder: Path, output_to_copy: Path, facts: dict[str, str]) -> float:
    """Seconds of the first run of the command, without the work on the videos."""
    stage = import_module(f"preprocessing.{command}")

    def update_without_work(videos: Iterable[Video], stage_folder: StageFolder, work: object, *arguments: object) -> None:
        copy = partial(copy_outputs, folder=stage_folder.folder, output_to_copy=output_to_copy, facts=facts)
        update_outputs(videos, stage_folder, copy, *arguments)  # type: ignore[arg-type]

    chdir(folder)
    with patch.object(stage, "update_outputs", update_without_work), patch.object(sys, "argv", [command]):
        start = time.perf_counter()
        stage.main()
        return time.perf_counter() - start


def add_videos(folder: Path, source: Path, count: int) -> None:
    for number in range(count):
        (folder / VIDEOS / f"{number:05d}.mp4").write_bytes(source.read_bytes() + f"{number:05d}".encode())


def benchmark(folder: Path, source: Path, single: Path, count: int) -> Iterator[tuple[str, float, float, float]]:
    """For each command: seconds of the first run, of a run with nothing to do, and of a run with one more video."""
    add_videos(project(folder), source, count)
    boxes = next((single / "data/boxes").glob("*/*.json"))
    crops = next((single / "data/crops").glob("*/*/*"))
    line = (single / "data/crops/ledger.jsonl").read_text()
    first = {
        "index_videos": time_command("index_videos", folder),
        "detect_faces": time_bookkeeping("detect_faces", folder, boxes, {}),
        "extract_crops": time_bookkeeping("extract_crops", folder, crops, {"crops": line}),
    }
    nothing = {command: time_command(command, folder) for command in COMMANDS}
    shutil.copy(source, folder / VIDEOS / "added.mp4")
    for command in COMMANDS:
        yield command, first[command], nothing[command], time_command(command, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1000, 10000], help="numbers of videos (default: 1000 10000)")
    counts = parser.parse_args().counts
    sys.path.insert(0, str(CODE / "tests"))
    from little_videos import face_video  # a synthetic video with a detectable face

    with tempfile.TemporaryDirectory() as temporary:
        single = project(Path(temporary) / "single")
        source = face_video(single / VIDEOS / "source.mp4", seed=0)
        work_seconds = {command: time_work(command, single) for command in COMMANDS}
        print("| videos | command | first run, per video | nothing to do | one more video | overhead of one more video |")
        print("| --- | --- | --- | --- | --- | --- |")
        for count in counts:
            for command, first, nothing, more in benchmark(Path(temporary) / str(count), source, single, count):
                overhead = more - work_seconds[command]
                cells = f"{1000 * first / count:.1f} ms", f"{nothing:.2f} s", f"{more:.2f} s", f"{overhead:.2f} s"
                print(f"| {count} | {command} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
