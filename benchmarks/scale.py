"""Scaling with the number of videos and workers: the numbers in docs/scale.md.

    python benchmarks/scale.py rows 100000 1000000     # seconds and memory of the index, the tasks and the ledger
    python benchmarks/scale.py queue 1000 1000000      # memory of the Ray driver with that many queued tasks
    python benchmarks/scale.py rates 8 64              # steps of a video of DFDC's size; totals of 128,000 on 8 and 64 machines
    python benchmarks/scale.py workers 1 2             # speed of preprocess.py with that many Ray workers; needs idle cores

`rows` uses a generated index and tasks without work, so it measures the driver only. `queue` processes 2,000 of the tasks;
the rest stays queued. `workers` simulates a Ray cluster in which each machine has one core of this machine.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from os import environ, fsync, pathsep, sched_getaffinity, sched_setaffinity
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

from explain_deepfakes.pipeline import incremental
from explain_deepfakes.pipeline.incremental import Outcome, Scope, StageFolder, StaleItem, VideoTask, update_outputs
from explain_deepfakes.pipeline.index import Index, Video, write_index
from explain_deepfakes.pipeline.ledger import content_hash, key_of
from explain_deepfakes.pipeline.memory import peak_memory
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.pipeline.ray_workers import map_unordered
from explain_deepfakes.preprocessing.crops import extraction
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.crops.stores import picture_writer
from explain_deepfakes.preprocessing.faces import detection
from explain_deepfakes.preprocessing.faces.following import follow_faces
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.sampling import evenly_spaced
from explain_deepfakes.preprocessing.video.video import open_video

DFDC, DFDC_BYTES = 128_000, 500e9  # number of videos and their total size
CORES, FRAMES = 16, 20  # cores per machine; frames per video
TASKS_TO_RUN = 2_000
FILES, VIDEOS, REPEATS = 4, 60, 3  # video files, index entries that refer to them, runs per number of workers


def timed(what: str, count: int, step: Callable[[], object]) -> None:
    """Run a step and print its seconds and the peak memory so far."""
    start = time.perf_counter()
    step()
    print(f"| {count} | {what} | {time.perf_counter() - start:.1f} s | {peak_memory() >> 20} MB |", flush=True)


def generate_videos(count: int) -> Iterator[Video]:
    """Index entries of videos that do not exist."""
    for number in range(count):
        name, people = f"{number:07d}", (f"p{number}", f"q{number}")
        path = f"data/videos/manipulated_sequences/Deepfakes/c23/videos/{name}.mp4"
        yield Video(f"Deepfakes/{name}", "Deepfakes", 1, "training_set", people, path, "", f"{number:064x}", "DFDC")


def finish_at_once(task: VideoTask) -> Outcome:
    """A result without work, with the ledger fields of extract_crops, which are the longest."""
    return Outcome(task, (), {"crops": [[f"{frame}_0.png", frame, 0, 612, 208, 974, 570] for frame in range(0, 300, 15)]})


def map_in_this_process(
    work: Callable[[StaleItem], Sequence[Outcome]], items: Iterable[StaleItem], workers: int, **_: object
) -> Generator[Sequence[Outcome], None, None]:
    yield from map(work, items)


def rows(count: int) -> None:
    """Time the index and the ledger. Call it in a fresh process. Flushing to disk, once per line, is excluded."""
    with tempfile.TemporaryDirectory() as temporary:
        index, folder = Path(temporary) / "videos.csv", Path(temporary) / "boxes"
        timed("write the index", count, lambda: write_index(index, generate_videos(count)))
        videos = Index(index)
        timed("read the index", count, lambda: sum(1 for _ in videos))
        arguments = (videos, StageFolder(folder, make_task), finish_at_once, "scale", 1, 0.0, Scope())
        with patch.object(incremental, "map_unordered", map_in_this_process):
            with patch("os.fsync", lambda handle: None):
                timed("first run, claims and results", count, lambda: update_outputs(*arguments))
            timed("a run with nothing to do", count, lambda: update_outputs(*arguments))
        sizes = index.stat().st_size >> 20, (folder / "ledger.jsonl").stat().st_size >> 20
        print(f"| {count} | on disk | index {sizes[0]} MB | ledger {sizes[1]} MB |", flush=True)


def make_task(video: Video) -> VideoTask:
    return VideoTask(video, key_of(video.content, "settings"), (f"{video.video}.json",))


def flush_time(folder: Path, lines: int = 200) -> float:
    """Milliseconds to flush one line to the disk of this folder."""
    with (folder / "flushed").open("a") as file:
        start = time.perf_counter()
        for _ in range(lines):
            file.write("line\n")
            file.flush()
            fsync(file.fileno())
        return 1000 * (time.perf_counter() - start) / lines


def queue(count: int) -> None:
    """Measure the memory of the driver and the rate of tasks with `count` queued tasks."""
    results = map_unordered(abs, iter(range(count)), workers=2)
    start = time.perf_counter()
    for done, _ in enumerate(results, start=1):
        if done == min(TASKS_TO_RUN, count):
            break
    rate = done / (time.perf_counter() - start)
    results.close()
    print(f"| {count} | {done} | {peak_memory() >> 20} MB | {rate:.0f} per second |", flush=True)


def rates(machines: list[int]) -> None:
    """Print the seconds of one core for each step, the best of three runs, and the totals for the given numbers of machines."""
    with tempfile.TemporaryDirectory() as temporary:
        path = write_dfdc_sized_video(Path(temporary) / "synthetic.mp4")
        file_of_average_size = Path(temporary) / "average_size"
        file_of_average_size.write_bytes(bytes(int(DFDC_BYTES / DFDC)))
        steps = [time_steps(path, file_of_average_size, Path(temporary) / "crops") for _ in range(4)][1:]  # first: warm-up
        best = {what: min(step[what] for step in steps) for what in steps[0]}
        flush = flush_time(Path(temporary))
    print("| step | core seconds per video |\n| --- | --- |")
    for what, seconds in best.items():
        print(f"| {what} | {seconds:.3f} |")
    print(f"| two ledger flushes, on the driver | {2 * flush / 1000:.4f} |\n")
    print("| machines | videos per second | hours | MB read per second | pictures written per second |")
    print("| --- | --- | --- | --- | --- |")
    for count in (1, *machines):
        rate = count * CORES / sum(best.values())
        cells = f"{rate:.0f}", f"{DFDC / rate / 3600:.2f}", f"{rate * DFDC_BYTES / DFDC / 1e6:.0f}", f"{rate * FRAMES:.0f}"
        print(f"| {count} | {' | '.join(cells)} |")


def write_dfdc_sized_video(path: Path, seed: int = 0) -> Path:
    """Write a synthetic video with the resolution and length of DFDC videos."""
    from little_videos import draw_face, write_video

    rng = np.random.default_rng(seed)
    noise = rng.integers(-12, 12, (1080, 1920, 3))
    shade = np.full((1080, 1920, 3), 110, np.uint8)
    pictures = (
        (draw_face(shade.copy(), 700 + number, 500, half=150) + np.roll(noise, number, 1)).clip(0, 255).astype(np.uint8)
        for number in range(300)
    )
    return write_video(path, pictures)


def time_steps(path: Path, file_of_average_size: Path, folder: Path) -> dict[str, float]:
    """Seconds of each step of preprocessing one video."""
    detect_params = replace(load_params("detect_faces", DetectionParams), frames=FRAMES, threads=1, device="cpu")
    crop_params, reading = load_params("extract_crops", CropParams), load_params("read_video", ReadingParams)
    detector = detection.load_detector(detect_params.face_detector_settings(), detect_params.device)
    laps = [time.perf_counter()]
    content_hash(file_of_average_size)
    laps.append(time.perf_counter())
    with open_video(path, reading) as video:
        indices = evenly_spaced(video.facts.frames_present, FRAMES)
        frames = list(video.frames(indices, detection.longest_side(video.facts, detector, detect_params)))
    laps.append(time.perf_counter())
    list(follow_faces(iter(frames), detector, detect_params.follow_settings(threads=1)))
    laps.append(time.perf_counter())
    with open_video(path, reading) as video:  # like preprocess.py, without decoding the frames again
        faces = extraction.select_faces(detection.find_boxes(video, "synthetic", detect_params).frames, crop_params)
        start = time.perf_counter()
        with picture_writer(folder, "folders") as write:
            crops = extraction.write_crops(video, faces, write, crop_params)
    assert len(crops) == FRAMES, "expected one face in each frame"
    crop_seconds = time.perf_counter() - start
    hash_seconds, decode_seconds, detect_seconds = (after - before for before, after in pairwise(laps))
    return {"hash": hash_seconds, "decode": decode_seconds, "detect": detect_seconds, "cut and write": crop_seconds}


def workers(counts: list[int]) -> None:
    """Print the speed of preprocess.py for each number of workers, on Ray and in separate processes."""
    from little_videos import project

    with tempfile.TemporaryDirectory() as temporary:
        folder = project(Path(temporary))
        files = [write_dfdc_sized_video(folder / f"{seed}.mp4", seed) for seed in range(FILES)]
        videos = [replace(video, path=str(files[index % FILES])) for index, video in enumerate(generate_videos(VIDEOS))]
        rounds = [
            {run: [videos_per_second(folder, videos, count, run) for count in counts] for run in (run_on_ray, run_separately)}
            for _ in range(REPEATS)
        ]
    print("| workers, one core each | videos per second | speedup over the first row of the same round |\n| --- | --- | --- |")
    for run, name in {run_on_ray: "on Ray", run_separately: "without Ray"}.items():
        for index, count in enumerate(counts):
            speedups = sorted(rates[run][index] / rates[run][0] for rates in rounds)
            speedup = f"{median(speedups):.2f} ({speedups[0]:.2f} to {speedups[-1]:.2f})"
            print(f"| {count} {name} | {median(rates[run][index] for rates in rounds):.1f} | {speedup} |")


def videos_per_second(folder: Path, videos: list[Video], count: int, run: Callable[[Path, list[Video], int], None]) -> float:
    """Rate of the middle 80 % of the videos, by the time their boxes were written; start and end are excluded."""
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    run(folder / "outputs", videos, count)
    times = sorted(path.stat().st_mtime for path in (folder / "outputs").glob("*/boxes/*/*.json"))
    first, last = VIDEOS // 10, VIDEOS - VIDEOS // 10
    return (last - first) / (times[last - 1] - times[first - 1])


def run_on_ray(folder: Path, videos: list[Video], count: int) -> None:
    with cluster(count) as address:
        process = start_preprocess(folder / "all", videos, "--address", address, "--workers", str(count))
        assert process.wait() == 0


def run_separately(folder: Path, videos: list[Video], count: int) -> None:
    """The upper bound: one independent process per core, each with its own videos."""
    processes = []
    for number, core in enumerate(sorted(sched_getaffinity(0))[:count]):
        with pinned_to(core):
            processes.append(start_preprocess(folder / str(number), videos[number::count], "--workers", "1"))
    assert [process.wait() for process in processes] == [0] * count


def start_preprocess(folder: Path, videos: list[Video], *flags: str) -> subprocess.Popen[bytes]:
    write_index(folder / "index.csv", videos)
    paths = "--index", folder / "index.csv", "--boxes_path", folder / "boxes", "--output_path", folder / "crops"
    script = CODE / "preprocessing/preprocess.py"
    command: list[str | Path] = [sys.executable, script, "--frames", str(FRAMES), "--threads", "1", *paths, *flags]
    return subprocess.Popen(command, cwd=folder.parents[1], stderr=subprocess.DEVNULL)


@contextmanager
def pinned_to(core: int) -> Iterator[None]:
    """Pin processes started inside this context to one core."""
    cores = sched_getaffinity(0)
    sched_setaffinity(0, {core})
    try:
        yield
    finally:
        sched_setaffinity(0, cores)


@contextmanager
def cluster(count: int) -> Iterator[str]:
    """Start a simulated Ray cluster of a head node and `count` machines with one core each; yield its address."""
    from ray.cluster_utils import Cluster

    environ["PYTHONPATH"] = pathsep.join(sys.path)
    ray_cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for core in sorted(sched_getaffinity(0))[:count]:
            with pinned_to(core):
                ray_cluster.add_node(num_cpus=1)
        ray_cluster.wait_for_nodes()
        yield ray_cluster.address
    finally:
        ray_cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", choices=("rows", "queue", "rates", "workers"), help="benchmark to run")
    parser.add_argument("counts", nargs="+", type=int, help="numbers of rows, tasks, machines or workers")
    args = parser.parse_args()
    sys.path.insert(0, str(CODE / "tests"))
    if args.what in ("workers", "rates"):
        return {"workers": workers, "rates": rates}[args.what](args.counts)
    headings = {
        "rows": "| rows | step | seconds | peak memory so far |",
        "queue": "| queued | finished | peak memory | rate |",
    }
    print(f"{headings[args.what]}\n| --- | --- | --- | --- |", flush=True)
    for count in args.counts:  # each in its own process, for its own peak memory
        process = get_context("spawn").Process(target={"rows": rows, "queue": queue}[args.what], args=(count,))
        process.start()
        process.join()
    if args.what == "rows":
        with tempfile.TemporaryDirectory() as temporary:
            print(f"one flush: {flush_time(Path(temporary)):.2f} ms; each video needs two")


if __name__ == "__main__":
    main()
