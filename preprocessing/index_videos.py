"""Stage index_videos: a folder of videos -> the index of them, with method, label, split and identities of each.

Reads the tree below `data_path`, writes data/index/videos.csv, and prints what was found.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.errors import run
from pipeline.index import FAKE, SPLITS, Video, write_index
from pipeline.params import PathFlag, read_command_line
from preprocessing.layouts import index_of
from preprocessing.source import Source


def table(videos: Sequence[Video]) -> Iterator[str]:
    """Lines of text: how many videos of each method are in each split, and of how many fakes the truth is missing."""
    counts = Counter((video.method, video.split) for video in videos)
    unmasked = Counter(video.method for video in videos if video.label == FAKE and not video.mask)
    methods = sorted({video.method for video in videos})
    yield _line("method", *SPLITS, "without mask")
    for method in methods:
        yield _line(method, *(counts[method, split] for split in SPLITS), unmasked[method])
    totals = Counter(video.split for video in videos)
    yield _line("all", *(totals[split] for split in SPLITS), unmasked.total())


def _line(first: str, *others: object) -> str:
    return f"{first:<20}" + "".join(f"{other!s:>16}" for other in others)


def main() -> None:
    source, paths = read_command_line(
        __doc__, "index_videos", Source, output_path=PathFlag("data/index/videos.csv", "where the index goes")
    )
    videos = index_of(source.data_path, source.dataset, source.compression)
    write_index(paths.output_path, videos)
    print("\n".join(table(videos)))


if __name__ == "__main__":
    run(main)
