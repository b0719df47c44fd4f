"""Verify a report: examine the file again and list every difference from the report.

    python serving/verify.py VIDEO REPORT.json [--model_path CHECKPOINT]

Exit status: 0 if the results are the same, 1 if they differ or the report is about another file or checkpoint.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings


def main() -> None:
    parser = argparse.ArgumentParser(description="Examine a file again and compare the results with a report.")
    parser.add_argument("file", type=Path, help="the video or picture that the report is about")
    parser.add_argument("report", type=Path, metavar="REPORT.json", help="JSON file of the report")
    parser.add_argument(*flag_spellings("model_path"), type=Path, help="checkpoint of the report, if it is not the default one")
    args = parser.parse_args()
    from explain_deepfakes.serving.examination.verification import verify

    verify(args)


if __name__ == "__main__":
    run(main)
