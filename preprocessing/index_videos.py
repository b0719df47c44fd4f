"""Stage index_videos: a folder of videos -> the index of them, with method, label, split and identities of each.

Recognises the layout of the tree below `data_path` (docs/layouts.md), writes data/index/videos.csv, and prints what was
found: a table, and what does not fit with the way to mend it. With `--validate` it prints that and writes nothing.
"""

from pipeline.errors import run
from pipeline.index import write_index
from pipeline.params import PathFlag, SwitchFlag, read_command_line
from preprocessing.corpus import Source, read_corpus
from preprocessing.doctor import report_on


def main() -> None:
    source, given = read_command_line(
        __doc__,
        "index_videos",
        Source,
        output_path=PathFlag("data/index/videos.csv", "where the index goes"),
        validate=SwitchFlag("print all that is found, write nothing"),
    )
    corpus = read_corpus(source)
    print("\n".join(report_on(corpus, in_full=bool(given.validate))))
    corpus.check_leaks()
    if not given.validate:
        write_index(given.output_path, corpus.videos)


if __name__ == "__main__":
    run(main)
