"""The videos that a command processes: those of the index, or those of the folder at `--data_path`."""

from argparse import Namespace
from collections.abc import Iterable

from explain_deepfakes.pipeline.index import Index, Video
from explain_deepfakes.pipeline.params import PathFlag, PathOrUrlFlag, TextFlag, load_params
from explain_deepfakes.pipeline.project import absolute
from explain_deepfakes.preprocessing.corpus.folders import CorpusFolders
from explain_deepfakes.preprocessing.corpus.layouts import NAMES
from explain_deepfakes.preprocessing.corpus.params import CorpusParams

CORPUS_FLAGS: dict[str, PathFlag | TextFlag] = {
    "index": PathFlag(None, "index of the videos (default: data/index/videos.csv)"),
    "data_path": PathOrUrlFlag(None, "folder of videos to process instead of those of the index"),
    "dataset": TextFlag(f"layout of --data_path: {', '.join(NAMES)} (default: AUTO)"),
    "compression": TextFlag("compression of FaceForensics++ to read: raw, c23 or c40 (default: that of index_videos)"),
}


def select_videos(args: Namespace) -> Iterable[Video]:
    """Return the videos that the CORPUS_FLAGS select. Those of a folder are the same that `index_videos` would index."""
    overrides = {"data_path": args.data_path, "dataset": args.dataset, "compression": args.compression}
    if not any(overrides.values()):
        return Index(args.index or CorpusFolders.at(None).index)
    from explain_deepfakes.preprocessing.corpus.corpus import read_corpus

    data_path = args.data_path and absolute(args.data_path)
    corpus = read_corpus(load_params("index_videos", CorpusParams, {**overrides, "data_path": data_path}))
    corpus.check_leaks()
    return corpus.videos
