"""Stage index_videos: a folder of videos -> the index of them, with method, label, split and identities of each.

Recognises the layout of the tree below `data_path` (docs/layouts.md), writes data/index/videos.csv, or index/videos.csv
below a folder that `--data_path` names, and prints what was found: a table, and what does not fit with the way to mend it.
With `--validate` it prints all of that and writes nothing; the last line is `ready`, or says how many problems there are,
and then the exit status is 2.
"""

import sys
from pathlib import Path

from pipeline.errors import UserError, run
from pipeline.index import read_index, write_index
from pipeline.params import PathFlag, SwitchFlag, read_command_line
from preprocessing.corpus.corpus import Corpus, Source, read_corpus
from preprocessing.corpus.folders import CorpusFolders
from preprocessing.corpus.report import READY, report_on

PROBLEMS = 2  # exit status


def main() -> None:
    source, given = read_command_line(
        __doc__,
        "index_videos",
        Source,
        output_path=PathFlag(
            None, "where the index goes (default: data/index/videos.csv, or index/videos.csv below --data_path)"
        ),
        validate=SwitchFlag("print all that is found, write nothing"),
        replace=SwitchFlag("overwrite the index of another corpus"),
    )
    corpus = read_corpus(source)
    report = list(report_on(corpus, in_full=bool(given.validate)))
    print("\n".join(report))
    if given.validate:
        sys.exit(0 if report[-1] == READY else PROBLEMS)
    corpus.check_leaks()
    output = given.output_path or CorpusFolders.of(source.data_path if "data_path" in given.overridden else None).index
    if output.is_file() and not given.replace:
        refuse_other_corpus(output, corpus)
    write_index(output, corpus.videos)


def refuse_other_corpus(index: Path, corpus: Corpus) -> None:
    """Videos that were moved, or of which some were added or taken out, are of the same corpus."""
    try:
        known = {video.video: video for video in read_index(index)}
    except UserError:
        return  # of an older version, or broken: it is of no use any more
    same = (known.get(video.video) for video in corpus.videos)
    if known and not any(one and one.content == video.content for one, video in zip(same, corpus.videos, strict=True)):
        raise UserError(
            f"{index} is the index of other videos, such as {next(iter(known.values())).path}, and not of those in "
            f"{corpus.tree.root}; choose another file with --output_path, or add --replace to overwrite it"
        )


if __name__ == "__main__":
    run(main)
