"""Stage index_videos: a folder of videos -> the index with method, label, split and identities of each video.

Recognises the folder layout at `data_path` (docs/layouts.md), writes data/index/videos.csv, or index/videos.csv below a folder
at `--data_path`, and prints the validation report: a table of the videos, and problems with their remedies. `--validate`
prints the full report and writes nothing; its last line is `ready` or the number of problems, and then the exit status is 2.
"""

import sys
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.pipeline.index import read_index, write_index
from explain_deepfakes.pipeline.params import PathFlag, SwitchFlag, read_command_line
from explain_deepfakes.preprocessing.corpus.corpus import Corpus, CorpusParams, read_corpus
from explain_deepfakes.preprocessing.corpus.folders import CorpusFolders
from explain_deepfakes.preprocessing.corpus.report import READY, report_lines

EXIT_PROBLEMS = 2


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "index_videos",
        CorpusParams,
        output_path=PathFlag(None, "output file (default: data/index/videos.csv, or index/videos.csv below --data_path)"),
        validate=SwitchFlag("print the full validation report and write nothing"),
        replace=SwitchFlag("overwrite the index of another corpus"),
    )
    corpus = read_corpus(params)
    report = list(report_lines(corpus, in_full=bool(args.validate)))
    print("\n".join(report))
    if args.validate:
        sys.exit(0 if report[-1] == READY else EXIT_PROBLEMS)
    corpus.check_leaks()
    output = args.output_path or CorpusFolders.at(params.data_path if "data_path" in args.overridden else None).index
    if output.is_file() and not args.replace:
        refuse_other_corpus(output, corpus)
    write_index(output, corpus.videos)


def refuse_other_corpus(index: Path, corpus: Corpus) -> None:
    """Raise if the index has none of the videos. A corpus that was moved, extended or reduced counts as the same."""
    try:
        indexed = {video.video: video for video in read_index(index)}
    except UserError:
        return  # an index of an old version, or a damaged one, can be overwritten
    previous = (indexed.get(video.video) for video in corpus.videos)
    pairs = zip(previous, corpus.videos, strict=True)
    if indexed and not any(old and old.content == new.content for old, new in pairs):
        raise UserError(
            f"{index} is the index of other videos, such as {next(iter(indexed.values())).path}, not of those in "
            f"{corpus.tree.root}; choose another file with --output_path, or add --replace to overwrite it"
        )


if __name__ == "__main__":
    run(main)
