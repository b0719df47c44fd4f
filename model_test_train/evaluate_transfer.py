"""Test generalisation: networks trained on one manipulation only are tested on all manipulations.

    python model_test_train/evaluate_transfer.py                                            # each manipulation, then the matrix
    python model_test_train/evaluate_transfer.py --train_on FaceSwap --test_on NeuralTextures
    python model_test_train/evaluate_transfer.py --model_path CHECKPOINT --datasets CELEBDF=/path/to/data DFDC=/other/data

The folder of a dataset is the `data` folder of a project, with index/videos.csv and crops/.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings
from explain_deepfakes.pipeline.project import from_root


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        *flag_spellings("train_on"), metavar="METHOD", help="train on this manipulation only (default: each, then the matrix)"
    )
    parser.add_argument(
        *flag_spellings("test_on"), metavar="METHOD", help="print the AUC on this manipulation only (default: on all)"
    )
    parser.add_argument("--table", action="store_true", help="only make the matrix from existing tests")
    parser.add_argument(
        *flag_spellings("model_path"),
        type=Path,
        default=from_root("data/models/best.safetensors"),
        help="the checkpoint to test with --datasets (default: data/models/best.safetensors)",
    )
    parser.add_argument("--datasets", nargs="+", metavar="NAME=FOLDER", help="test one network on other datasets")
    index, crops = from_root("data/index/videos.csv"), from_root("data/crops")
    parser.add_argument("--index", type=Path, default=index, help="the index of videos (default: data/index/videos.csv)")
    parser.add_argument("--crops", type=Path, default=crops, help="the crops of its videos (default: data/crops)")
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.evaluation.transfer import evaluate_transfer

    evaluate_transfer(args)


if __name__ == "__main__":
    run(main)
