"""Score videos by the motion of facial landmarks with the published weights of LRNet; write a CSV for evaluate_scores.

    python model_test_train/score_landmarks.py --weights g1.pth g2.pth landmarks/*.txt

Each file has a row of 136 numbers per frame, as LRNet's own script writes it. The score is the share of blocks of 30 frames
that are called fake.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Score videos by the motion of facial landmarks, with LRNet's published weights."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="LANDMARKS.txt", help="tables of landmarks, one per video")
    parser.add_argument(
        "--weights", nargs=2, type=Path, required=True, metavar=("G1", "G2"), help="the two files of weights, g1.pth and g2.pth"
    )
    parser.add_argument("--output", type=Path, help="CSV to write (default: print only)")
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.networks.lrnet import score_files
    from explain_deepfakes.pipeline.outputs import write_csv

    scores = score_files(args.files, args.weights)
    for name, score in scores.items():
        print(f"{name}: {score:.2f}")
    if args.output:
        write_csv(args.output, ("video", "fake_probability"), ({"video": n, "fake_probability": s} for n, s in scores.items()))


if __name__ == "__main__":
    run(main)
