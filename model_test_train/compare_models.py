"""Compare two detectors on the same videos: which metrics differ, by how much, and whether the difference is significant.

    python model_test_train/compare_models.py --a results/tests --b other/tests [--output_path results/comparison]

Each is a folder that test_model.py wrote, or a CSV of videos, labels and probabilities. Tests under different conditions are
not compared.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--a", type=Path, required=True, help="a folder that test_model.py wrote, or a CSV")
    parser.add_argument("--b", type=Path, required=True, help="the folder or CSV to compare with it")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="threshold for a CSV without verdicts (default: %(default)s)"
    )
    parser.add_argument("--bootstrap", type=int, default=2000, help="draws of intervals and tests (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument(
        *flag_spellings("output_path"),
        type=Path,
        default=Path("results/comparison"),
        help="folder for the comparison (default: %(default)s)",
    )
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.evaluation.model_comparison import compare_models

    compare_models(args)


if __name__ == "__main__":
    run(main)
