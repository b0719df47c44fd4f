"""Import the weights of a published network as a checkpoint, which testing, explanations and serving accept.

    python model_test_train/import_checkpoint.py --weights FILE --config YAML --output CHECKPOINT

Accepts a state dict of the published hybrid network, or an .h5 file of MesoNet saved by Keras. No code in the file is executed.
The file does not state the training data or the threshold, so set `--trained_on` and `--threshold`.
"""

import argparse
from pathlib import Path

from explain_deepfakes.model_test_train.metrics.aggregation import PUBLISHED_THRESHOLD
from explain_deepfakes.model_test_train.networks.training_data import UNKNOWN_DATA
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=Path, required=True, help="the published file: a state dict, or .h5 of MesoNet")
    parser.add_argument("--config", type=Path, required=True, help="the YAML that describes the network")
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint to write (.safetensors)")
    parser.add_argument(
        *flag_spellings("trained_on"),
        nargs="+",
        default=[UNKNOWN_DATA],
        metavar="DATASET",
        help="datasets it was trained on, such as FACEFORENSICS",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=PUBLISHED_THRESHOLD,
        help="probability above which a video is fake (default: %(default)s)",
    )
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.networks.published_weights import import_checkpoint

    import_checkpoint(args)


if __name__ == "__main__":
    run(main)
