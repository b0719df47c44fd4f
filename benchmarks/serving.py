"""How soon there is a verdict on a video, and what becomes of a server that fifty ask at once.

    python benchmarks/serving.py speed VIDEO [--frames 20] [--repeats 5]
    python benchmarks/serving.py load VIDEO [--clients 50] [--seconds 120] [--workers 2] [--kill 1]

`speed`: predict.py from its start to its end, and where its time goes; and by HTTP from the end of the upload to the
verdict, and to the report. `load`: each client sends the video, waits for its job, and sends it again; who is told to come
again does; in the middle so many workers are killed. Nothing but 202 and 429 should be answered, each job that was taken
should be done, and memory should not grow.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from pipeline.project import CODE, from_root

MODEL = from_root("data/models/best.safetensors")
OVER = ("done", "failed", "cancelled")
SECONDS_BETWEEN_LOOKS = 0.05


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content[:1] == b"{" else content
    finally:
        connection.close()


@contextlib.contextmanager
def server(*flags: object) -> Iterator[tuple[int, psutil.Process]]:
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [
            sys.executable,
            CODE / "serving/app.py",
            "--port",
            port,
            "--jobs",
            folder,
            "--model_path",
            MODEL,
            "--demo",
            *flags,
        ]
        process = subprocess.Popen([*map(str, command)])
        try:
            while not is_ready(port):
                time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def is_ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/ready")[0] == 200
    except OSError:
        return False


def until(port: int, link: str, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = ask(port, "GET", link)[1]
        if is_so(job) or job["state"] in OVER:
            return job
        time.sleep(SECONDS_BETWEEN_LOOKS)


# ---- speed


def speed(video: Path, frames: int, repeats: int) -> None:
    command = [
        sys.executable,
        str(CODE / "serving/predict.py"),
        str(video),
        "--model_path",
        str(MODEL),
        "--frames",
        str(frames),
    ]
    told: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        told.setdefault(what, []).append(seconds)

    for _ in range(repeats):
        begun = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        note("predict.py, from start to end", time.monotonic() - begun)
        for what, seconds in parts(video, frames).items():
            note(f"  {what}", seconds)
    with server("--frames", frames) as (port, _):
        for _ in range(repeats):
            link = ask(port, "POST", "/api/jobs?name=video.mp4", video.read_bytes())[1]["links"]["self"]
            begun = time.monotonic()
            until(port, link, lambda job: job["verdict"])
            note("HTTP, from the upload's end to the verdict", time.monotonic() - begun)
            until(port, link, lambda job: False)
            note("HTTP, to report, heatmaps and video", time.monotonic() - begun)
    for what, seconds in told.items():
        print(f"{what:<46}{median(seconds):7.2f} s   ({min(seconds):.2f} to {max(seconds):.2f})")


def parts(video: Path, frames: int) -> dict[str, float]:
    """By a process of its own, in which nothing is loaded yet."""
    script = (
        "import sys, time; t = [time.monotonic()]\n"
        "from pathlib import Path; from serving.examination.examiner import Examiner; import serving.predict\n"
        "t.append(time.monotonic())\n"
        "examiner = Examiner.load(Path(sys.argv[1]), frames=int(sys.argv[3]), demo=True); t.append(time.monotonic())\n"
        "said = {}\n"
        "examiner.examine(Path(sys.argv[2]), lambda doing, done, total: said.update({doing: time.monotonic()}))\n"
        "t += [said['looking for faces'], said['cutting them out'], said['judging']]\n"
        "print(*(b - a for a, b in zip(t, t[1:])))"
    )
    done = subprocess.run([sys.executable, "-c", script, MODEL, video, str(frames)], check=True, capture_output=True, text=True)
    names = ("imports", "loading the network", "opening, decoding, looking for faces", "cutting them out", "judging")
    return dict(zip(names, map(float, done.stdout.split()), strict=True))


# ---- load


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # from sending to done
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str) -> None:
        with self.lock:
            self.answers[what] += 1


def client(port: int, body: bytes, ends: float, tally: Tally) -> None:
    while (begun := time.monotonic()) < ends:
        try:
            status, told = ask(port, "POST", "/api/jobs?name=video.mp4", body)
            tally.note(f"answered {status}")
            if status == 202:
                job = until(port, told["links"]["self"], lambda job: False)
                tally.note(f"job {job['state']}" + (f": {job['error']}" if job["error"] else ""))
                tally.seconds.append(time.monotonic() - begun)
                ask(port, "DELETE", told["links"]["self"])
            else:
                time.sleep(1)
        except OSError as error:
            tally.note(f"no answer: {error}")


def memory_mb(process: psutil.Process) -> float:
    """Of the server and its processes; what they share is counted once."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += one.memory_full_info().pss / 1e6
    return total


def load(video: Path, clients: int, seconds: float, workers: int, kill: int) -> None:
    tally, body = Tally(), video.read_bytes()
    with server("--workers", workers) as (port, process):
        begun = time.monotonic()
        ends = begun + seconds
        threads = [threading.Thread(target=client, args=(port, body, ends, tally)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        print(f"{'seconds':>8} {'MB':>7} {'done':>6} {'429':>6}")
        to_kill = kill
        while time.monotonic() < ends:
            time.sleep(seconds / 12)
            if to_kill and time.monotonic() > begun + seconds / 2:
                kill_workers(process, to_kill)
                to_kill = 0
            done, busy = tally.answers["job done"], tally.answers["answered 429"]
            print(f"{time.monotonic() - begun:8.0f} {memory_mb(process):7.0f} {done:6} {busy:6}", flush=True)
        for thread in threads:
            thread.join()
        metrics = ask(port, "GET", "/metrics")[1].decode()
    for what, count in sorted(tally.answers.items()):
        print(f"{count:6} {what}")
    print(f"{median(tally.seconds):6.1f} s from sending to done, median; {max(tally.seconds):.1f} s at most")
    print(*(line for line in metrics.splitlines() if line.startswith(("jobs_total", "workers_lost_total"))), sep="\n")


def kill_workers(process: psutil.Process, count: int) -> None:
    """Those that hold a network, which are the forkserver's children."""
    grandchildren = [one for child in process.children() for one in child.children()]
    for one in grandchildren[:count]:
        print(f"killing worker {one.pid}")
        os.kill(one.pid, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon there is a verdict; what becomes of a server that many ask.")
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("video", type=Path)
    fast.add_argument("--frames", type=int, default=20)
    fast.add_argument("--repeats", type=int, default=5)
    many = commands.add_parser("load")
    many.add_argument("video", type=Path)
    many.add_argument("--clients", type=int, default=50)
    many.add_argument("--seconds", type=float, default=120)
    many.add_argument("--workers", type=int, default=2)
    many.add_argument("--kill", type=int, default=0)
    given = parser.parse_args()
    if given.command == "speed":
        speed(given.video, given.frames, given.repeats)
    else:
        load(given.video, given.clients, given.seconds, given.workers, given.kill)


if __name__ == "__main__":
    main()
