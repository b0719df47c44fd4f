"""Break down the metrics of a test by attributes of the people in its videos, which a table lists.

    python model_test_train/breakdown.py --tests results/tests --table videos/portraits.csv --columns source crf skin_ita

The table's column `video` has names as in the index; the index itself is such a table, with columns such as dataset and kind.
Or its column `id` has the names of real videos, which are also the first part of the names of the fakes made of them, as in
FaceForensics++ and in the corpus of make_portrait_videos.py. Numbers are binned into ranges with equal numbers of videos.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings
from explain_deepfakes.pipeline.project import from_root


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tests", type=Path, default=from_root("results/tests"), help="a folder that test_model.py wrote")
    parser.add_argument("--table", type=Path, required=True, help="a CSV with a column 'video' or 'id', such as the index")
    parser.add_argument(
        "--columns", nargs="+", default=[], help="columns of the table to break down by; numbers can have edges: crf=18,29,40"
    )
    parser.add_argument(
        "--unknown", nargs="+", default=[], metavar="METHOD", help="manipulations that were not in training: adds their AUC"
    )
    parser.add_argument("--bootstrap", type=int, default=1000, help="bootstrap draws of each interval (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument(
        *flag_spellings("output_path"), type=Path, help="CSV to write (default: breakdown.csv in the folder of the tests)"
    )
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.evaluation.breakdown import write_breakdown

    write_breakdown(args)


if __name__ == "__main__":
    run(main)
