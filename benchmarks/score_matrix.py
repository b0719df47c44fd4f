"""A matrix of scores: seconds for metrics, intervals, all comparisons and a fusion for unseen generators.

python benchmarks/score_matrix.py [--videos 2000] [--detectors 9] [--repeats 3]
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from explain_deepfakes.pipeline.project import CODE

GENERATORS = ("FaceSwap", "Deepfakes", "FaceShifter", "NeuralTextures", "Diffusion")
MISSING = 0.1  # share of the scores


def write_matrix(path: Path, videos: int, detectors: int) -> None:
    """Simulated scores: each detector is best on other generators, and lacks a tenth of the scores."""
    rng = np.random.default_rng(0)
    skill = rng.uniform(0, 2.5, (detectors, len(GENERATORS)))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "label", "method", "identities", *(f"detector_{number}" for number in range(detectors))])
        for number in range(videos):
            is_fake, generator = number % 2, int(rng.integers(len(GENERATORS)))
            logits = rng.normal(skill[:, generator] if is_fake else 0.0, 1.0, detectors)
            scores = [f"{1 / (1 + np.exp(-logit)):.6f}" if rng.random() > MISSING else "" for logit in logits]
            method = GENERATORS[generator] if is_fake else "Original"
            writer.writerow([f"v{number}", is_fake, method, f"p{number // 4}", *scores])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--detectors", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        matrix, output = Path(folder) / "matrix.csv", Path(folder) / "scores"
        write_matrix(matrix, args.videos, args.detectors)
        command = [sys.executable, CODE / "model_test_train/evaluate_scores.py", matrix, "--fuse", "--output_path", output]
        seconds = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
        metrics = json.loads((output / "metrics.json").read_text())
    print("| videos | detectors | pairs compared | seconds, median |")
    print("| --- | --- | --- | --- |")
    pairs = (args.detectors + 1) * args.detectors // 2
    print(f"| {args.videos} | {args.detectors} and the fusion | {pairs} | {median(seconds):.1f} |")
    print(f"AUC of the fusion on unseen generators: {metrics['fused']['video']['auc']['value']:.3f}")


if __name__ == "__main__":
    main()
