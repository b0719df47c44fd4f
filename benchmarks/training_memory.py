"""Peak memory of training for different numbers of crops, made by linking the same 1,000 pictures.

    python benchmarks/training_memory.py [--crops 1000 100000] [--seconds 40] [--workers 2]

The memory is that of the real command and all of its processes while it trains for the given time. Shared pages are counted
once.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from memory import memory_of

from explain_deepfakes.pipeline.project import CODE

sys.path.append(str(CODE / "tests"))
from little_crops import project_of_crops

PEOPLE, FRAMES = 25, 20  # with one fake of each person, 1,000 crops


def peak_memory_of_training(folder: Path, seconds: float, workers: int) -> float:
    """Peak memory (MB) from the first saved state on, for the given number of seconds."""
    command = [sys.executable, str(CODE / "model_test_train/train_model.py"), "--workers", str(workers), "--num_epochs", "99"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, deadline = 0, float("inf")
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"training ended early with exit status {process.returncode}")
        if deadline == float("inf") and list((folder / "data/runs").glob("*/state.pt")):
            deadline = time.monotonic() + seconds
        peak = max(peak, memory_of(psutil.Process(process.pid)))
        time.sleep(0.2)
    process.terminate()
    process.wait()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--crops", type=int, nargs="+", default=[1000, 100_000], help="numbers of crops")
    parser.add_argument("--seconds", type=float, default=40, help="training time to observe")
    parser.add_argument("--workers", type=int, default=2, help="workers of the training command")
    args = parser.parse_args()
    print(f"{'crops':>8}{'peak MB':>9}")
    for crops in args.crops:
        with tempfile.TemporaryDirectory() as folder:
            links = max(1, crops // (2 * PEOPLE * FRAMES))
            train_settings = {"save_seconds": 5, "patience": 99}
            project = project_of_crops(Path(folder) / "project", PEOPLE, FRAMES, {}, train_settings, links)
            print(f"{crops:>8}{peak_memory_of_training(project, args.seconds, args.workers):>9.0f}", flush=True)


if __name__ == "__main__":
    main()
