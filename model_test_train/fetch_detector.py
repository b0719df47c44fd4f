"""Install a published detector: download its weights or read your copy, verify them, and write a checkpoint.

    python model_test_train/fetch_detector.py gend_clip_l14
    python model_test_train/fetch_detector.py sbi_efficientnet_b4 --weights FFc23.tar

No code in the file is executed.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "name", metavar="NAME", help="detector of the list that `explain-deepfakes detectors` prints, or a YAML"
    )
    parser.add_argument(
        "--weights", type=Path, nargs="+", metavar="FILE", help="the authors' files, if you have them (default: download them)"
    )
    parser.add_argument("--output", type=Path, help="checkpoint to write (default: data/detectors/NAME.safetensors)")
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.networks.detector_files import fetch_detector

    fetch_detector(args)


if __name__ == "__main__":
    run(main)
