"""Which videos a command works on: those of the index, or those of a folder that the command line names."""

from argparse import Namespace
from collections.abc import Iterable

from pipeline.index import Index, Video
from pipeline.params import PathFlag, PlaceFlag, TextFlag, load_params
from pipeline.project import absolute
from preprocessing.corpus.corpus import Source, read_corpus
from preprocessing.corpus.folders import CorpusFolders
from preprocessing.corpus.layouts import NAMES

FLAGS: dict[str, PathFlag | TextFlag] = {
    "index": PathFlag(None, "the index of videos (default: data/index/videos.csv)"),
    "data_path": PlaceFlag(None, "folder of videos to work on instead of those of the index"),
    "dataset": TextFlag(f"its layout: {', '.join(NAMES)} (default: told from the folder itself)"),
    "compression": TextFlag("which of FaceForensics++'s copies: raw, c23 or c40 (default: that of index_videos)"),
}


def videos_of(given: Namespace) -> Iterable[Video]:
    """From the flags: without a word about a folder, the index; else the folder, as `index_videos` would index it."""
    named = {"data_path": given.data_path, "dataset": given.dataset, "compression": given.compression}
    if not any(named.values()):
        return Index(given.index or CorpusFolders.of(None).index)
    source = load_params("index_videos", Source, {**named, "data_path": given.data_path and absolute(given.data_path)})
    corpus = read_corpus(source)
    corpus.check_leaks()
    return corpus.videos
