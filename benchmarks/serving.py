"""Latency of a verdict, and behaviour of the server under load.

    python benchmarks/serving.py speed VIDEO [--frames 20] [--repeats 5]
    python benchmarks/serving.py load VIDEO [--clients 50] [--seconds 120] [--workers 2] [--kill 1]

`speed` times predict.py, in total and by step, and the server from the end of the upload to the verdict and to the report.
`load` runs clients that each upload the video, wait for the job, and upload it again, or retry after 429. Halfway through,
it kills the given number of workers. The expected status codes are 202 and 429 only, each accepted job should finish, and
memory should not grow.
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypedDict

import psutil

from explain_deepfakes.pipeline.project import CODE, from_root

MODEL = from_root("data/models/best.safetensors")
FINAL_STATES = ("done", "failed", "cancelled")
POLL_SECONDS = 0.05


class Links(TypedDict):
    self: str


class JobAnswer(TypedDict):
    """The fields of a job's JSON that are used here."""

    state: str
    error: str | None
    verdict: dict[str, object] | None
    links: Links


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request to the local server; return the status code and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextlib.contextmanager
def server(*flags: object) -> Iterator[tuple[int, psutil.Process]]:
    """Run the server; yield its port and process."""
    with socket.socket() as free_socket, tempfile.TemporaryDirectory() as folder:
        free_socket.bind(("127.0.0.1", 0))
        port = free_socket.getsockname()[1]
        free_socket.close()
        paths = "--jobs", folder, "--model_path", MODEL
        command = [sys.executable, CODE / "serving/app.py", "--port", port, *paths, "--demo", *flags]
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
        return request(port, "GET", "/ready")[0] == 200
    except OSError:
        return False


def parse_job(content: bytes) -> JobAnswer:
    job: JobAnswer = json.loads(content)
    return job


def wait_for_job(port: int, link: str, condition: Callable[[JobAnswer], object] = lambda job: False) -> JobAnswer:
    """Poll the job until the condition holds or the job has ended."""
    while True:
        job = parse_job(request(port, "GET", link)[1])
        if condition(job) or job["state"] in FINAL_STATES:
            return job
        time.sleep(POLL_SECONDS)


# ---- speed


def speed(video: Path, frames: int, repeats: int) -> None:
    script = str(CODE / "serving/predict.py")
    command = [sys.executable, script, str(video), "--model_path", str(MODEL), "--frames", str(frames)]
    durations: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        durations["predict.py, total"].append(time.monotonic() - start)
        for step, step_seconds in time_steps(video, frames).items():
            durations[f"  {step}"].append(step_seconds)
    with server("--frames", frames) as (port, _):
        for _ in range(repeats):
            job = parse_job(request(port, "POST", "/api/jobs?name=video.mp4", video.read_bytes())[1])
            link, start = job["links"]["self"], time.monotonic()
            wait_for_job(port, link, lambda job: job["verdict"])
            durations["HTTP, end of upload to verdict"].append(time.monotonic() - start)
            wait_for_job(port, link)
            durations["HTTP, end of upload to report, heatmaps and video"].append(time.monotonic() - start)
    for step, seconds in durations.items():
        print(f"{step:<50}{median(seconds):7.2f} s   ({min(seconds):.2f} to {max(seconds):.2f})")


def time_steps(video: Path, frames: int) -> dict[str, float]:
    """Seconds of each step of an examination, in a new process that has not loaded anything."""
    script = (
        "import sys, time; t = [time.monotonic()]\n"
        "from pathlib import Path; from serving.examination.examiner import Examiner; import serving.predict\n"
        "t.append(time.monotonic())\n"
        "examiner = Examiner.load(Path(sys.argv[1]), frames=int(sys.argv[3]), demo=True); t.append(time.monotonic())\n"
        "times = {}\n"
        "examiner.examine(Path(sys.argv[2]), lambda step, done, total: times.update({step: time.monotonic()}))\n"
        "t += [times['detecting faces'], times['cropping faces'], times['scoring faces']]\n"
        "print(*(b - a for a, b in zip(t, t[1:])))"
    )
    command: list[str | Path] = [sys.executable, "-c", script, MODEL, video, str(frames)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    names = ("imports", "loading the network", "decoding and face detection", "cropping", "scoring")
    return dict(zip(names, map(float, result.stdout.split()), strict=True))


# ---- load


@dataclass
class LoadResults:
    """Counts of responses and job states, and durations of jobs, collected by all clients."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of each job, from the start of the upload to the end
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, event: str) -> None:
        with self.lock:
            self.counts[event] += 1


def run_client(port: int, body: bytes, deadline: float, results: LoadResults) -> None:
    """Upload the video, wait for the job and delete it, until the deadline."""
    while (start := time.monotonic()) < deadline:
        try:
            status, content = request(port, "POST", "/api/jobs?name=video.mp4", body)
            results.count(f"status {status}")
            if status == 202:
                link = parse_job(content)["links"]["self"]
                job = wait_for_job(port, link)
                results.count(f"job {job['state']}" + (f": {job['error']}" if job["error"] else ""))
                results.seconds.append(time.monotonic() - start)
                request(port, "DELETE", link)
            else:
                time.sleep(1)
        except OSError as error:
            results.count(f"no response: {error}")


def memory_mb(server_process: psutil.Process) -> float:
    """Memory of the server and its child processes; shared pages are counted once."""
    total = 0.0
    for process in [server_process, *server_process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss / 1e6
    return total


def load(video: Path, clients: int, seconds: float, workers: int, kill: int) -> None:
    results, body = LoadResults(), video.read_bytes()
    with server("--workers", workers) as (port, process):
        start = time.monotonic()
        deadline = start + seconds
        threads = [threading.Thread(target=run_client, args=(port, body, deadline, results)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        print(f"{'seconds':>8} {'MB':>7} {'done':>6} {'429':>6}")
        workers_to_kill = kill
        while time.monotonic() < deadline:
            time.sleep(seconds / 12)
            if workers_to_kill and time.monotonic() > start + seconds / 2:
                kill_workers(process, workers_to_kill)
                workers_to_kill = 0
            done, busy = results.counts["job done"], results.counts["status 429"]
            print(f"{time.monotonic() - start:8.0f} {memory_mb(process):7.0f} {done:6} {busy:6}", flush=True)
        for thread in threads:
            thread.join()
        metrics = request(port, "GET", "/metrics")[1].decode()
    for event, count in sorted(results.counts.items()):
        print(f"{count:6} {event}")
    print(f"{median(results.seconds):6.1f} s from upload to result (median); {max(results.seconds):.1f} s at most")
    print(*(line for line in metrics.splitlines() if line.startswith(("jobs_total", "workers_lost_total"))), sep="\n")


def kill_workers(process: psutil.Process, count: int) -> None:
    """Kill workers that hold a network, which are the children of the fork server."""
    workers = [worker for server in process.children() for worker in server.children()]
    for worker in workers[:count]:
        print(f"killing worker {worker.pid}")
        os.kill(worker.pid, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    speed_parser = commands.add_parser("speed", help="time predict.py and the server")
    speed_parser.add_argument("video", type=Path, help="video to examine")
    speed_parser.add_argument("--frames", type=int, default=20, help="frames per video")
    speed_parser.add_argument("--repeats", type=int, default=5, help="number of runs; the median is reported")
    load_parser = commands.add_parser("load", help="put load on the server")
    load_parser.add_argument("video", type=Path, help="video to upload")
    load_parser.add_argument("--clients", type=int, default=50, help="concurrent clients")
    load_parser.add_argument("--seconds", type=float, default=120, help="duration of the load")
    load_parser.add_argument("--workers", type=int, default=2, help="workers of the server")
    load_parser.add_argument("--kill", type=int, default=0, help="workers to kill halfway through")
    args = parser.parse_args()
    if args.command == "speed":
        speed(args.video, args.frames, args.repeats)
    else:
        load(args.video, args.clients, args.seconds, args.workers, args.kill)


if __name__ == "__main__":
    main()
