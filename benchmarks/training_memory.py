"""Memory of training, however many crops there are: the same pictures, linked, as 1,000 and as 100,000 crops.

    python benchmarks/training_memory.py [--crops 1000 100000] [--seconds 40] [--workers 2]

The memory is that of the real command and all its processes together, each shared page counted once: the most that was seen
while it trained for so many seconds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from memory import memory_of

from pipeline.project import CODE

sys.path.append(str(CODE / "tests"))
from little_crops import project_of_crops

PEOPLE, FRAMES = 25, 20  # with a fake of each, 1,000 crops


def peak_of(folder: Path, seconds: float, workers: int) -> float:
    """MB, from when training has begun."""
    command = [sys.executable, str(CODE / "model_test_train/train_model.py"), "--workers", str(workers), "--num_epochs", "99"]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, ends = 0, float("inf")
    while time.monotonic() < ends:
        if running.poll() is not None:
            sys.exit(f"training ended with status {running.returncode}")
        if ends == float("inf") and list((folder / "data/runs").glob("*/state.pt")):
            ends = time.monotonic() + seconds
        peak = max(peak, memory_of(psutil.Process(running.pid)))
        time.sleep(0.2)
    running.terminate()
    running.wait()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--crops", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    print(f"{'crops':>8}{'peak MB':>9}")
    for crops in given.crops:
        with tempfile.TemporaryDirectory() as folder:
            links = max(1, crops // (2 * PEOPLE * FRAMES))
            train = {"save_seconds": 5, "patience": 99}
            project = project_of_crops(Path(folder) / "project", PEOPLE, FRAMES, {}, train, links)
            print(f"{crops:>8}{peak_of(project, given.seconds, given.workers):>9.0f}", flush=True)


if __name__ == "__main__":
    main()
