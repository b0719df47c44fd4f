"""Testing: what share of its time is the network's own, and whether its memory grows with the number of videos.

    python benchmarks/testing.py [--repeats 5] [--crops 1000 50000]

The share is that of the demo's test crops: the time that the network takes for pictures which lie in memory already, over the
time of judging the same crops from disk. The memory is that of the real command and all its processes together, each shared
page counted once, on drawn crops, linked.
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

from model_test_train.evaluation.testing import Params, samples_of, score_frames
from model_test_train.networks.checkpoint import load_checkpoint
from model_test_train.networks.scoring import fake_probabilities, side_by_side
from model_test_train.training.data import Pictures
from pipeline.index import read_index
from pipeline.params import load_params
from pipeline.project import CODE, from_root
from pipeline.reproducible import seed_everything

sys.path.append(str(CODE / "tests"))
from little_crops import project_of_crops

PEOPLE, FRAMES = 25, 20  # with a fake of each, 1,000 crops


def shares(repeats: int) -> tuple[int, float, float]:
    """Crops; median seconds of judging them; median share of the network."""
    params = load_params("test", Params)
    seed_everything(params.seed, params.threads)
    network, _ = load_checkpoint(from_root("data/models/best.safetensors"), torch.device("cpu"))
    videos = [video for video in read_index(from_root("data/index/videos.csv")) if video.split == params.split]
    samples = samples_of(videos, from_root("data/crops"), params)
    read = Pictures(samples, network.input)
    pictures = torch.stack([read[place] for place in range(len(samples))])

    def judge(places: range) -> np.ndarray:
        return fake_probabilities(network, [pictures[places.start : places.stop]])

    wholes, alone = [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        list(side_by_side(judge, len(samples), params.batch_size, params.workers))
        between = time.perf_counter()
        score_frames(network, samples, params)
        alone.append(between - begun)
        wholes.append(time.perf_counter() - between)
    return len(samples), median(wholes), median(a / b for a, b in zip(alone, wholes, strict=True))


def peak_of(folder: Path) -> float:
    """MB, of testing the training videos with a network that was hardly trained."""
    scripts = CODE / "model_test_train"
    train = [sys.executable, str(scripts / "train_model.py"), "--num_epochs", "1", "--max_videos", "4"]
    subprocess.run(train, cwd=folder, check=True, capture_output=True)
    test = [sys.executable, str(scripts / "test_model.py"), "--split", "training_set", "--frames_per_video", "100"]
    running = subprocess.Popen(test, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while running.poll() is None:
        peak = max(peak, memory_of(psutil.Process(running.pid)))
        time.sleep(0.1)
    if running.returncode:
        sys.exit(f"testing ended with status {running.returncode}")
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="the median of which is given")
    parser.add_argument("--crops", type=int, nargs="+", default=[1000, 50_000])
    given = parser.parse_args()
    count, seconds, share = shares(given.repeats)
    print(f"{count} crops judged in {seconds:.1f} s, {count / seconds:.0f} a second; the network alone takes {share:.0%} of it")
    print(f"{'crops':>8}{'peak MB':>9}")
    for crops in given.crops:
        with tempfile.TemporaryDirectory() as folder:
            links = max(1, crops // (2 * PEOPLE * FRAMES))
            project = project_of_crops(Path(folder) / "project", PEOPLE, FRAMES, {}, {"patience": 99}, links)
            print(f"{crops:>8}{peak_of(project):>9.0f}", flush=True)


if __name__ == "__main__":
    main()
