"""Testing: the network's share of the time, and peak memory for different numbers of crops.

    python benchmarks/testing.py [--repeats 5] [--crops 1000 50000]

The share is measured on the demo's test crops: the network's time for pictures in memory, divided by the time to score the
same crops from disk. The memory is that of the real command and all of its processes on linked synthetic crops. Shared pages
are counted once.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
from memory import memory_of

from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.evaluation.testing import score_frames, select_samples
from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint
from explain_deepfakes.model_test_train.networks.scoring import fake_probabilities, map_ranges
from explain_deepfakes.model_test_train.training.data import PictureDataset
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import CODE, from_root
from explain_deepfakes.pipeline.reproducible import seed_everything

sys.path.append(str(CODE / "tests"))
from little_crops import project_of_crops

PEOPLE, FRAMES = 25, 20  # with one fake of each person, 1,000 crops


def benchmark_network_share(repeats: int) -> tuple[int, float, float]:
    """Number of crops, median seconds to score them, and median share of the network in that time."""
    params = load_params("test", TestParams)
    seed_everything(params.seed, params.threads)
    network, _ = load_checkpoint(from_root("data/models/best.safetensors"), torch.device("cpu"))
    videos = [video for video in read_index(from_root("data/index/videos.csv")) if video.split == params.split]
    samples = select_samples(videos, from_root("data/crops"), params)
    dataset = PictureDataset(samples, network.input)
    pictures = torch.stack([dataset[index] for index in range(len(samples))])

    def score(indices: range) -> np.ndarray:
        return fake_probabilities(network, [pictures[indices.start : indices.stop]])

    total_seconds, network_seconds = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        list(map_ranges(score, len(samples), params.batch_size, params.workers))
        middle = time.perf_counter()
        score_frames(network, samples, params)
        network_seconds.append(middle - start)
        total_seconds.append(time.perf_counter() - middle)
    share = median(part / total for part, total in zip(network_seconds, total_seconds, strict=True))
    return len(samples), median(total_seconds), share


def peak_memory_of_testing(folder: Path) -> float:
    """Peak memory (MB) of testing the training videos with a network trained for one short epoch."""
    scripts = CODE / "model_test_train"
    train = [sys.executable, str(scripts / "train_model.py"), "--num_epochs", "1", "--max_videos", "4"]
    subprocess.run(train, cwd=folder, check=True, capture_output=True)
    test = [sys.executable, str(scripts / "test_model.py"), "--split", "training_set", "--frames_per_video", "100"]
    process = subprocess.Popen(test, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(psutil.Process(process.pid)))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"testing ended with exit status {process.returncode}")
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="number of runs; the median is reported")
    parser.add_argument("--crops", type=int, nargs="+", default=[1000, 50_000], help="numbers of crops")
    args = parser.parse_args()
    count, seconds, share = benchmark_network_share(args.repeats)
    print(f"{count} crops scored in {seconds:.1f} s, {count / seconds:.0f} per second; network share {share:.0%}")
    print(f"{'crops':>8}{'peak MB':>9}")
    for crops in args.crops:
        with tempfile.TemporaryDirectory() as folder:
            links = max(1, crops // (2 * PEOPLE * FRAMES))
            project = project_of_crops(Path(folder) / "project", PEOPLE, FRAMES, {}, {"patience": 99}, links)
            print(f"{crops:>8}{peak_memory_of_testing(project):>9.0f}", flush=True)


if __name__ == "__main__":
    main()
