"""Stage index_videos: a folder of videos -> the index with method, label, split and identities of each video.

Recognises the folder layout at `data_path` (docs/layouts.md), writes data/index/videos.csv, or index/videos.csv below a folder
at `--data_path`, and prints the validation report: a table of the videos, and problems with their remedies. `--validate`
prints the full report and writes nothing; its last line is `ready` or the number of problems, and then the exit status is 2.
"""

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, SwitchFlag, read_command_line
from explain_deepfakes.preprocessing.corpus.params import CorpusParams


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "index_videos",
        CorpusParams,
        output_path=PathFlag(None, "output file (default: data/index/videos.csv, or index/videos.csv below --data_path)"),
        validate=SwitchFlag("print the full validation report and write nothing"),
        replace=SwitchFlag("overwrite the index of another corpus"),
    )
    from explain_deepfakes.preprocessing.corpus.indexing import index_videos

    index_videos(params, args)


if __name__ == "__main__":
    run(main)
