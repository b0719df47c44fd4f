"""Stage extract_crops: cut the faces out of the videos, and their ground-truth masks.

Reads the videos of the index, or of the folder at `--data_path`, and the boxes written by detect_faces or by the published
script. Writes <split>/<Method>/<stem>/<frame>_<track>.png for each face, the ledger of the stage and failures.csv to
data/crops, or to crops/ below `--data_path`. If a video has a mask, <Method>/<stem>/<frame>_<track>.png in the sibling folder
`masks` marks the manipulated pixels of a crop. With `--store archives`, <stem>.zip with the same files replaces each folder.
An `--output_path` that ends in training_set, validation_set or test_set receives the videos of that split only.
"""

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.incremental import SCOPE_FLAGS
from explain_deepfakes.pipeline.params import PathOrUrlFlag, Section, read_command_line
from explain_deepfakes.preprocessing.corpus.source import CORPUS_FLAGS
from explain_deepfakes.preprocessing.crops.params import CropParams
from explain_deepfakes.preprocessing.video.params import ReadingParams


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "extract_crops",
        CropParams,
        **CORPUS_FLAGS,
        **SCOPE_FLAGS,
        boxes_path=PathOrUrlFlag(None, "folder of the boxes (default: data/boxes, or boxes below --data_path)"),
        output_path=PathOrUrlFlag(None, "output folder of the crops (default: data/crops, or crops below --data_path)"),
        reading=Section("read_video", ReadingParams),
    )
    from explain_deepfakes.preprocessing.crops.stage import extract_crops

    extract_crops(params, args)


if __name__ == "__main__":
    run(main)
