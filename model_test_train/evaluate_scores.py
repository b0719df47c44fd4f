"""Compute the metrics and plots of stage test for videos' fake probabilities from any source.

    python model_test_train/evaluate_scores.py SCORES.csv [--threshold 0.5] [--output_path results/scores]

The CSV needs columns for the video, its label (0 or real, 1 or fake) and its fake probability. Columns for the manipulation
and for the people in the video are optional; intervals are computed over groups of people.

Without such a column of probabilities, each further column counts as the scores of one detector. Gaps are allowed.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("scores", type=Path, help="a CSV of videos, or a folder that test_model.py wrote")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="probability above which a video is fake (default: %(default)s)"
    )
    parser.add_argument("--bootstrap", type=int, default=1000, help="bootstrap draws of each interval (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument(
        *flag_spellings("output_path"),
        type=Path,
        default=Path("results/scores"),
        help="folder for metrics and plots (default: %(default)s)",
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="column of a matrix to group videos by (default: method, if there is one)"
    )
    parser.add_argument(
        "--fuse",
        action="store_true",
        help="also fuse the detectors of a matrix, and test the fusion on generators it never saw",
    )
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.evaluation.scores_report import evaluate_scores

    evaluate_scores(args)


if __name__ == "__main__":
    run(main)
