"""List the published detectors that this project can run, describe one, or compare its metrics with the published ones.

python model_test_train/list_detectors.py
python model_test_train/list_detectors.py gend_clip_l14
python model_test_train/list_detectors.py gend_clip_l14 --tests results/tests --original scores_of_their_code.csv
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description="List the published detectors that this project can run, or describe one.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="detector to describe (default: list all)")
    parser.add_argument(
        "--tests", type=Path, help="folder of a test of this detector: show its metrics beside the published ones"
    )
    parser.add_argument(
        "--original", type=Path, metavar="SCORES.csv", help="scores of the same videos by the authors' own code"
    )
    args = parser.parse_args()
    if not args.name and (args.tests or args.original):
        parser.error("--tests and --original need the NAME of a detector")
    from explain_deepfakes.model_test_train.evaluation.published_comparison import compare_with_published
    from explain_deepfakes.model_test_train.networks.detector_files import list_detectors, show_detector

    if args.tests:
        print(*compare_with_published(args.name, args.tests, args.original), sep="\n")
    elif args.name:
        show_detector(args.name)
    else:
        list_detectors()


if __name__ == "__main__":
    run(main)
