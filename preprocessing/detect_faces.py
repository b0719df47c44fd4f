"""Stage detect_faces: detect faces in sampled frames of each video, and track each person through the video.

Reads the videos of the index, or of the folder at `--data_path`. Writes <Method>/<stem>.json for each video (see boxes.py), the
ledger of the stage and failures.csv to data/boxes, or to boxes/ below `--data_path`.
"""

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.incremental import SCOPE_FLAGS
from explain_deepfakes.pipeline.params import PathOrUrlFlag, Section, read_command_line
from explain_deepfakes.preprocessing.corpus.source import CORPUS_FLAGS
from explain_deepfakes.preprocessing.faces.params import DetectionParams
from explain_deepfakes.preprocessing.video.params import ReadingParams


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "detect_faces",
        DetectionParams,
        **CORPUS_FLAGS,
        **SCOPE_FLAGS,
        output_path=PathOrUrlFlag(None, "output folder of the boxes (default: data/boxes, or boxes below --data_path)"),
        reading=Section("read_video", ReadingParams),
    )
    from explain_deepfakes.preprocessing.faces.stage import detect_faces

    detect_faces(params, args)


if __name__ == "__main__":
    run(main)
