"""Is the face real? Examine videos, pictures or folders of them; print verdicts, and with --report, write pages of evidence.

python serving/predict.py VIDEO… [--model_path CHECKPOINT] [--report OUT.html] [--json]
python serving/predict.py --model_path data/ensembles/average/ensemble.json VIDEO…    # an ensemble
python serving/predict.py --crops IMAGE…                                              # face crops
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import DEVICES, flag_spellings
from explain_deepfakes.preprocessing.video.video import start_decoder
from explain_deepfakes.serving.examination.files import PICTURES, VIDEOS, check_report, find_files


def main() -> None:
    parser = argparse.ArgumentParser(description="Is the face in a video or picture real? Print a trained network's verdict.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="videos, pictures, or folders of them")
    parser.add_argument("--crops", action="store_true", help="treat the files as pictures of faces that are cropped already")
    parser.add_argument(
        *flag_spellings("model_path"),
        type=Path,
        help="checkpoint, or .json file of an ensemble (default: the detector shipped with the project)",
    )
    parser.add_argument("--detector", metavar="NAME", help="a published detector that `explain-deepfakes fetch` installed")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="OUT.html",
        help="write the evidence to this page and OUT.json, or to pages in this folder",
    )
    parser.add_argument("--json", action="store_true", help="print the results as a JSON list")
    parser.add_argument(
        "--frames",
        type=positive_integer,
        metavar="N",
        help="frames to sample from a video (default: as many as the checkpoint card says)",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="device that the network runs on")
    parser.add_argument(
        "--demo",
        action="store_true",
        help="use the demo network of `make repro`, and allow a --model_path never trained on real faces",
    )
    args = parser.parse_args()
    if args.detector and args.model_path:
        parser.error("name either --detector or --model_path")
    files = list(find_files(args.files, PICTURES if args.crops else VIDEOS | PICTURES))
    check_report(args.report, files, args.crops)
    if not args.crops:
        start_decoder()  # while this process imports torch
    from explain_deepfakes.serving.examination.predictions import predict

    predict(args, files)


def positive_integer(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    run(main)
