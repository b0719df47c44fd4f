"""Score videos with several detectors: a CSV with a column per detector, which evaluate_scores reads.

    python serving/score_videos.py --detector gend_clip_l14 --detector mine.py VIDEO… --output scores.csv
    python serving/score_videos.py --detector sbi_efficientnet_b4 --index data/index/videos.csv --output scores.csv

A detector is a published one that `explain-deepfakes fetch` installed, a checkpoint, or a Python file with a function
`predict(path)` that returns a fake probability. With an index, its test videos are scored, with their labels.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import DEVICES


def main() -> None:
    parser = argparse.ArgumentParser(description="Score videos with several detectors; write a CSV with a column per detector.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="videos, pictures, or folders of them")
    parser.add_argument(
        "--detector",
        action="append",
        required=True,
        dest="detectors",
        metavar="NAME",
        help="an installed detector, a checkpoint, or a Python file with predict(path); can be repeated",
    )
    parser.add_argument("--index", type=Path, help="index whose test videos are scored, in place of files")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="device that the networks run on")
    args = parser.parse_args()
    if bool(args.files) == bool(args.index):
        parser.error("name either files or --index")
    from explain_deepfakes.serving.examination.scoring import score_videos

    score_videos(args)


if __name__ == "__main__":
    run(main)
