"""A corpus as it lies on disk: a folder of videos -> the index of them, and all that is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import SPLITS, Video
from pipeline.params import setting
from pipeline.project import from_root, relative
from preprocessing.corpus.file_facts import Facts, facts_of
from preprocessing.corpus.layouts import AUTO, NAMES, read_tree
from preprocessing.corpus.layouts.tree import Item, Tree
from preprocessing.corpus.splits import Leak, assign_splits, find_leaks

CACHE = "data/index-cache.jsonl"
OFFICIAL, GROUPS = "official", "groups"
SHOWN_LEAKS, SHOWN_FOLDERS = 5, 5
WAYS_PAST_LEAKS = (
    f"take these videos out; or set index_videos.splits to {GROUPS}, which draws the splits anew by who is in the videos; "
    "or set index_videos.allow_leaks to true, and go on all the same"
)


@dataclass(frozen=True)
class Source:
    """A folder of videos and how to read it; the section `index_videos`."""

    data_path: Path = setting("folder of the videos", implies={"dataset": AUTO})
    dataset: str = setting(f"its layout: {', '.join(NAMES)}")
    compression: str = setting("which of FaceForensics++'s copies: raw, c23 or c40")
    splits: str = setting("those the corpus gives where it gives any, or groups of people drawn", choices=(OFFICIAL, GROUPS))
    allow_leaks: bool = setting("go on though a person, a file or a fake's original is in two splits")
    skip_unknown: bool = setting("leave out folders of videos that nothing says are real or fake, and index the rest")
    workers: int = setting("files looked at side by side", low=1)


@dataclass(frozen=True)
class Corpus:
    source: Source
    tree: Tree
    videos: list[Video]  # sorted by name
    facts: dict[str, Facts]  # of each of them
    missing: list[tuple[Item, str]]  # what the corpus's own lists name and the tree has not, and its split
    leaks: list[Leak]

    def check_leaks(self) -> None:
        if self.leaks and not self.source.allow_leaks:
            left = len(self.leaks) - SHOWN_LEAKS
            more = f"; and {left} more, which index_videos.py --validate lists" if left > 0 else ""
            shown = "; ".join(leak.text(most=1) for leak in self.leaks[:SHOWN_LEAKS])
            raise UserError(f"the splits leak: {shown}{more}; {WAYS_PAST_LEAKS}")


def read_corpus(source: Source) -> Corpus:
    tree = read_tree(source.data_path, source.dataset, source.compression)
    if not source.skip_unknown:
        _check_known(tree)
    if source.splits == GROUPS:
        tree = _without_official_splits(tree)
    items = sorted(tree.items, key=lambda item: item.video)
    missing = sorted(tree.missing, key=lambda item: item.video)
    _check_unique(items)
    facts = facts_of([item.path for item in items], from_root(CACHE), source.workers)
    of_videos = {item.video: facts[item.path] for item in items}
    contents = {video: facts.content for video, facts in of_videos.items() if facts.has_pictures}
    splits = assign_splits([*missing, *items], contents, tree.official, tree.open_splits)
    videos = [_indexed(item, splits[item.video], of_videos[item.video], tree.dataset) for item in items]
    leaks = find_leaks(videos, contents)
    return Corpus(source, tree, videos, of_videos, [(item, splits[item.video]) for item in missing], leaks)


def _check_known(tree: Tree) -> None:
    """No folder of videos is passed over in silence beside those that are known."""
    skipped = [unfit for unfit in tree.unfit if unfit.skipped]
    if skipped:
        shown = "; ".join(f"{one.path} ({one.skipped}): {one.reason}; {one.remedy}" for one in skipped[:SHOWN_FOLDERS])
        more = f"; and {len(skipped) - SHOWN_FOLDERS} more folders" if len(skipped) > SHOWN_FOLDERS else ""
        raise UserError(
            f"{sum(one.skipped for one in skipped)} files would be left out of the index: {shown}{more}. "
            "To index the rest without them, add --skip_unknown, or set index_videos.skip_unknown to true"
        )


def _without_official_splits(tree: Tree) -> Tree:
    items, missing = ([replace(item, split="") for item in some] for some in (tree.items, tree.missing))
    return replace(tree, items=items, missing=missing, official={}, open_splits=SPLITS)


def _check_unique(items: Sequence[Item]) -> None:
    for item, following in pairwise(items):
        if item.video == following.video:
            raise UserError(f"{item.path} and {following.path} are both {item.video}; rename one, or take it out")


def _indexed(item: Item, split: str, facts: Facts, dataset: str) -> Video:
    return Video(
        video=item.video,
        method=item.method,
        label=item.label,
        split=split,
        identities=item.identities,
        path=relative(item.path),
        mask=relative(item.mask) if item.mask else "",
        content=facts.content,
        dataset=dataset,
        made_from=item.made_from,
    )
