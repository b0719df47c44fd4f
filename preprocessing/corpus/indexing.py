"""Index a folder of videos: write the index and print the validation report."""

import sys
from argparse import Namespace
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index, write_index
from explain_deepfakes.preprocessing.corpus.corpus import Corpus, read_corpus
from explain_deepfakes.preprocessing.corpus.folders import CorpusFolders
from explain_deepfakes.preprocessing.corpus.params import CorpusParams
from explain_deepfakes.preprocessing.corpus.report import READY, report_lines

EXIT_PROBLEMS = 2


def index_videos(params: CorpusParams, args: Namespace) -> None:
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
