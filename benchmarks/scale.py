"""What grows with the number of videos, and what more workers bring: the figures of docs/scale.md.

    python benchmarks/scale.py rows 100000 1000000     # seconds and memory of index, jobs and ledger
    python benchmarks/scale.py queue 1000 1000000      # memory of the driver of Ray, so many stubs waiting
    python benchmarks/scale.py rates 8 64              # a video of DFDC's size, step by step, and what its 128,000 cost
    python benchmarks/scale.py workers 1 2             # pace of preprocess.py on so many machines of Ray's; wants idle cores

The rows are those of a drawn-up index, and their work is none: what is measured is what stays with the one who drives. With
`queue`, 2,000 of the stubs are worked on: what waits behind them is not touched, which is the point. The machines of `workers`
are made up, with a core of this one each.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from os import environ, fsync, pathsep, sched_getaffinity, sched_setaffinity
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from pipeline import incremental as upkeep
from pipeline.incremental import Job, Outcome, Part, Scope, StaleItem, update_outputs
from pipeline.index import Index, Video, write_index
from pipeline.ledger import content_hash, key_of
from pipeline.memory import peak_memory
from pipeline.params import load_params
from pipeline.project import CODE
from pipeline.ray_workers import map_unordered
from preprocessing.crops import extraction
from preprocessing.crops.stores import fill
from preprocessing.faces import detection
from preprocessing.faces.following import follow
from preprocessing.video.sampling import evenly_spaced
from preprocessing.video.video import Reading, open_video

DFDC, DFDC_BYTES = 128_000, 500e9  # videos, and their size
CORES, FRAMES = 16, 20  # of a machine; looked at in a video
WORKED_ON = 2_000
DRAWN, NAMED, REPEATS = 4, 60, 3  # videos, names under which they are in the index, how often each number of workers has them


def timed(what: str, count: int, step: Callable[[], Any]) -> Any:
    begun = time.perf_counter()
    result = step()
    print(f"| {count} | {what} | {time.perf_counter() - begun:.1f} s | {peak_memory() >> 20} MB |", flush=True)
    return result


def drawn_up(count: int) -> Iterator[Video]:
    for number in range(count):
        name, people = f"{number:07d}", (f"p{number}", f"q{number}")
        path = f"data/videos/manipulated_sequences/Deepfakes/c23/videos/{name}.mp4"
        yield Video(f"Deepfakes/{name}", "Deepfakes", 1, "training_set", people, path, "", f"{number:064x}", "DFDC")


def done_at_once(job: Job) -> Outcome:
    """With what extract_crops notes of a video, the longest of all ledgers' lines."""
    return Outcome(job, (), {"crops": [[f"{frame}_0.png", frame, 0, 612, 208, 974, 570] for frame in range(0, 300, 15)]})


def in_this_process(work: Callable, items: Iterable[StaleItem], workers: int, **_: Any) -> Generator:
    yield from map(work, items)


def rows(count: int) -> None:
    """In a fresh process. The disk's own time is left out: a flush a line is what a disk makes of it."""
    with tempfile.TemporaryDirectory() as scratch:
        index, folder = Path(scratch) / "videos.csv", Path(scratch) / "boxes"
        timed("write the index", count, lambda: write_index(index, drawn_up(count)))
        videos = Index(index)
        timed("go through it", count, lambda: sum(1 for _ in videos))
        arguments = (videos, Part(folder, job_of), done_at_once, "scale", 1, 0.0, Scope())
        with patch.object(upkeep, "map_unordered", in_this_process):
            with patch("os.fsync", lambda handle: None):
                timed("claims and results of a first run", count, lambda: update_outputs(*arguments))
            timed("a run with nothing to do", count, lambda: update_outputs(*arguments))
        sizes = index.stat().st_size >> 20, (folder / "ledger.jsonl").stat().st_size >> 20
        print(f"| {count} | on disk | index {sizes[0]} MB | ledger {sizes[1]} MB |", flush=True)


def job_of(video: Video) -> Job:
    return Job(video, key_of(video.content, "settings"), (f"{video.video}.json",))


def flush_time(folder: Path, lines: int = 200) -> float:
    """Milliseconds of one line's flush on the disk of this folder."""
    with (folder / "flushed").open("a") as file:
        begun = time.perf_counter()
        for _ in range(lines):
            file.write("line\n")
            file.flush()
            fsync(file.fileno())
        return 1000 * (time.perf_counter() - begun) / lines


def queue(count: int) -> None:
    results = map_unordered(abs, iter(range(count)), workers=2)
    begun = time.perf_counter()
    for done, _ in enumerate(results, start=1):
        if done == min(WORKED_ON, count):
            break
    rate = done / (time.perf_counter() - begun)
    results.close()
    print(f"| {count} | {done} | {peak_memory() >> 20} MB | {rate:.0f} a second |", flush=True)


def rates(machines: list[int]) -> None:
    """Seconds of one core, the best of five; then what they come to."""
    with tempfile.TemporaryDirectory() as scratch:
        path = of_dfdc_size(Path(scratch) / "drawn.mp4")
        sized = Path(scratch) / "of_usual_size"
        sized.write_bytes(bytes(int(DFDC_BYTES / DFDC)))
        steps = [_steps(path, sized, Path(scratch) / "crops") for _ in range(4)][1:]  # the first one's libraries are loading
        best = {what: min(step[what] for step in steps) for what in steps[0]}
        flush = flush_time(Path(scratch))
    print("| step | seconds of a core, a video |\n| --- | --- |")
    for what, seconds in best.items():
        print(f"| {what} | {seconds:.3f} |")
    print(f"| two flushes of the ledger, on the driver | {2 * flush / 1000:.4f} |\n")
    print("| machines | videos a second | hours | read, MB/s | pictures written a second |\n| --- | --- | --- | --- | --- |")
    for count in (1, *machines):
        pace = count * CORES / sum(best.values())
        cells = f"{pace:.0f}", f"{DFDC / pace / 3600:.2f}", f"{pace * DFDC_BYTES / DFDC / 1e6:.0f}", f"{pace * FRAMES:.0f}"
        print(f"| {count} | {' | '.join(cells)} |")


def of_dfdc_size(path: Path, seed: int = 0) -> Path:
    from little_videos import draw_face, write_video

    rng = np.random.default_rng(seed)
    noise = rng.integers(-12, 12, (1080, 1920, 3))
    shade = np.full((1080, 1920, 3), 110, np.uint8)
    pictures = (
        (draw_face(shade.copy(), 700 + number, 500, half=150) + np.roll(noise, number, 1)).clip(0, 255).astype(np.uint8)
        for number in range(300)
    )
    return write_video(path, pictures)


def _steps(path: Path, sized: Path, folder: Path) -> dict[str, float]:
    finding = replace(load_params("detect_faces", detection.Params), frames=FRAMES, threads=1, device="cpu")
    cutting, reading = load_params("extract_crops", extraction.Params), load_params("read_video", Reading)
    detector = detection.load_detector(finding.detector_settings(), finding.device)
    laps = [time.perf_counter()]
    content_hash(sized)
    laps.append(time.perf_counter())
    with open_video(path, reading) as video:
        wanted = evenly_spaced(video.facts.frames_present, FRAMES)
        frames = list(video.frames(wanted, detection.longest_side(video.facts, detector, finding)))
    laps.append(time.perf_counter())
    list(follow(iter(frames), detector, finding.follow_settings(threads=1)))
    laps.append(time.perf_counter())
    with open_video(path, reading) as video:  # as preprocess.py does, which decodes no more for the crops
        faces = extraction.chosen_faces(detection.find_boxes(video, "drawn", finding).frames, cutting)
        begun = time.perf_counter()
        with fill(folder, "folders") as put:
            crops = extraction.write_crops(video, faces, put, cutting)
    assert len(crops) == FRAMES, "a face in each frame"
    written = time.perf_counter() - begun
    hashed, decoded, found = (after - before for before, after in pairwise(laps))
    return {"hash": hashed, "decode": decoded, "detect": found, "cut and write": written}


def workers(counts: list[int]) -> None:
    from little_videos import project

    with tempfile.TemporaryDirectory() as scratch:
        folder = project(Path(scratch))
        drawn = [of_dfdc_size(folder / f"{seed}.mp4", seed) for seed in range(DRAWN)]
        videos = [replace(video, path=str(drawn[place % DRAWN])) for place, video in enumerate(drawn_up(NAMED))]
        rounds = [
            {way: [_pace(folder, videos, count, way) for count in counts] for way in (on_ray, without_ray)}
            for _ in range(REPEATS)
        ]
    print("| workers, a core each | videos a second | times the first, in the same round |\n| --- | --- | --- |")
    for way, what in {on_ray: "on Ray", without_ray: "without Ray"}.items():
        for place, count in enumerate(counts):
            gains = sorted(one[way][place] / one[way][0] for one in rounds)
            told = f"{median(gains):.2f} ({gains[0]:.2f} to {gains[-1]:.2f})"
            print(f"| {count} {what} | {median(one[way][place] for one in rounds):.1f} | {told} |")


def _pace(folder: Path, videos: list[Video], count: int, way: Callable[[Path, list[Video], int], None]) -> float:
    """Videos a second, of the middle four fifths by when their boxes were written: start and end are taken out."""
    shutil.rmtree(folder / "made", ignore_errors=True)
    way(folder / "made", videos, count)
    moments = sorted(path.stat().st_mtime for path in (folder / "made").glob("*/boxes/*/*.json"))
    first, last = NAMED // 10, NAMED - NAMED // 10
    return (last - first) / (moments[last - 1] - moments[first - 1])


def on_ray(place: Path, videos: list[Video], count: int) -> None:
    with cluster(count) as address:
        process = _preprocess(place / "all", videos, "--address", address, "--workers", str(count))
        assert process.wait() == 0


def without_ray(place: Path, videos: list[Video], count: int) -> None:
    """What the machine itself gives: a process a core, with videos of its own, which know nothing of each other."""
    running = []
    for number, core in enumerate(sorted(sched_getaffinity(0))[:count]):
        with on(core):
            running.append(_preprocess(place / str(number), videos[number::count], "--workers", "1"))
    assert [process.wait() for process in running] == [0] * count


def _preprocess(place: Path, videos: list[Video], *flags: str) -> subprocess.Popen[bytes]:
    write_index(place / "index.csv", videos)
    places = "--index", place / "index.csv", "--boxes_path", place / "boxes", "--output_path", place / "crops"
    command = [sys.executable, CODE / "preprocessing/preprocess.py", "--frames", str(FRAMES), "--threads", "1", *places, *flags]
    return subprocess.Popen(command, cwd=place.parents[1], stderr=subprocess.DEVNULL)


@contextmanager
def on(core: int) -> Iterator[None]:
    """What is started meanwhile stays on that core."""
    cores = sched_getaffinity(0)
    sched_setaffinity(0, {core})
    try:
        yield
    finally:
        sched_setaffinity(0, cores)


@contextmanager
def cluster(count: int) -> Iterator[str]:
    """Of machines with a core each, beside one that has none; its address."""
    from ray.cluster_utils import Cluster

    environ["PYTHONPATH"] = pathsep.join(sys.path)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for core in sorted(sched_getaffinity(0))[:count]:
            with on(core):
                made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made.address
    finally:
        made.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", choices=("rows", "queue", "rates", "workers"))
    parser.add_argument("counts", nargs="+", type=int)
    given = parser.parse_args()
    sys.path.insert(0, str(CODE / "tests"))
    if given.what in ("workers", "rates"):
        return {"workers": workers, "rates": rates}[given.what](given.counts)
    headings = {
        "rows": "| rows | what | seconds | most memory so far |",
        "queue": "| queued | worked on | most memory | rate |",
    }
    print(f"{headings[given.what]}\n| --- | --- | --- | --- |", flush=True)
    for count in given.counts:  # in a process of its own, whose memory is its own
        process = get_context("spawn").Process(target={"rows": rows, "queue": queue}[given.what], args=(count,))
        process.start()
        process.join()
    if given.what == "rows":
        with tempfile.TemporaryDirectory() as scratch:
            print(f"one flush: {flush_time(Path(scratch)):.2f} ms; a video takes two")


if __name__ == "__main__":
    main()
