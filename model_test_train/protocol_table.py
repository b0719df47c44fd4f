"""Table of the standard protocol: networks trained on one dataset, tested on others, beside published results.

    dvc repro protocol_table

The section `protocol` of params.yaml names the datasets. DVC first indexes, crops, trains and tests, as far as something
changed.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--tests",
        type=Path,
        required=True,
        help="folder of the tests, such as results/protocol/FaceForensics++: METHODS/SEED/DATASET, where METHODS and SEED are "
        "what the network was trained with",
    )
    parser.add_argument(*flag_spellings("output_path"), type=Path, required=True, help="folder for the table")
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.evaluation.protocol import write_protocol_table

    write_protocol_table(args.tests, args.output_path)


if __name__ == "__main__":
    run(main)
