"""Draw a preview of all augmentations: a row for each, with several random variants of the same crop.

    python model_test_train/preview_augmentations.py [--crop IMAGE] [--output docs/images/augmentations.jpg]

The settings are those of `PREVIEW_SETTINGS`, stronger than in training, so that effects are visible.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--crop", type=Path, help="picture of a face (default: a crop of the demo)")
    parser.add_argument("--output", type=Path, default=Path("augmentations.jpg"), help="output file (default: %(default)s)")
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.training.augmentations.preview import preview_augmentations

    preview_augmentations(args)


if __name__ == "__main__":
    run(main)
