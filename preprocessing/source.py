"""Which videos a command works on: those of the index, or those of a folder that the command line names."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from pipeline.index import Video, read_index
from pipeline.params import PathFlag, TextFlag, load_params, setting
from preprocessing.layouts import LAYOUTS, index_of

LAYOUT_NAMES = ", ".join(LAYOUTS)


@dataclass(frozen=True)
class Source:
    """A folder of videos and how to read it; the section `index_videos`."""

    data_path: Path = setting("folder of the videos")
    dataset: str = setting(f"its layout: {LAYOUT_NAMES}")
    compression: str = setting("which of FaceForensics++'s copies: raw, c23 or c40")


FLAGS: dict[str, PathFlag | TextFlag] = {
    "index": PathFlag("data/index/videos.csv", "the index of videos"),
    "data_path": PathFlag(None, "folder of videos to work on instead of those of the index"),
    "dataset": TextFlag(f"its layout: {LAYOUT_NAMES} (default: that of index_videos)"),
    "compression": TextFlag("which of FaceForensics++'s copies: raw, c23 or c40 (default: that of index_videos)"),
}


def videos_of(given: Namespace) -> list[Video]:
    """From the flags: without a word about a folder, the index; else the folder, as `index_videos` would index it."""
    named = {"data_path": given.data_path, "dataset": given.dataset, "compression": given.compression}
    if not any(named.values()):
        return read_index(given.index)
    source = load_params("index_videos", Source, {**named, "data_path": given.data_path and given.data_path.absolute()})
    return index_of(source.data_path, source.dataset, source.compression)
