"""Run the stages detect_faces and extract_crops together, decoding each video only once: faster for large corpora.

The results are those of the two stages run one after the other, and the stages count them as done: boxes, crops and masks in
data/, or below `--data_path`. The flags are those of detect_faces; the settings of extract_crops come from params.yaml.
"""

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.incremental import SCOPE_FLAGS
from explain_deepfakes.pipeline.params import PathOrUrlFlag, Section, read_command_line
from explain_deepfakes.preprocessing.corpus.source import CORPUS_FLAGS
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.video.params import ReadingParams


def main() -> None:
    detection_params, args = read_command_line(
        __doc__,
        "detect_faces",
        DetectionParams,
        **CORPUS_FLAGS,
        **SCOPE_FLAGS,
        boxes_path=PathOrUrlFlag(None, "output folder of the boxes (default: data/boxes, or boxes below --data_path)"),
        output_path=PathOrUrlFlag(None, "output folder of the crops (default: data/crops, or crops below --data_path)"),
        reading=Section("read_video", ReadingParams),
    )
    from explain_deepfakes.preprocessing.crops.both_stages import detect_and_extract_all

    detect_and_extract_all(detection_params, args)


if __name__ == "__main__":
    run(main)
