"""A folder of videos -> the videos with their metadata, and everything that is wrong with the corpus."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import SPLITS, Video
from explain_deepfakes.pipeline.project import from_root, relative
from explain_deepfakes.preprocessing.corpus.file_facts import FileFacts, read_file_facts
from explain_deepfakes.preprocessing.corpus.layouts import read_tree
from explain_deepfakes.preprocessing.corpus.layouts.manifest import read_manifest
from explain_deepfakes.preprocessing.corpus.layouts.tree import Item, Tree, TreeOptions
from explain_deepfakes.preprocessing.corpus.params import GROUPS, OFFICIAL, TEST_ONLY, CorpusParams
from explain_deepfakes.preprocessing.corpus.splits import Leak, assign_splits, find_leaks

CACHE = "data/index-cache.jsonl"
MAX_LEAKS, MAX_FOLDERS = 5, 5  # in an error message
LEAK_REMEDIES = (
    f"remove these videos; or set index_videos.splits to {GROUPS}, which assigns new splits by groups of people; "
    "or set index_videos.allow_leaks to true to continue anyway"
)


@dataclass(frozen=True)
class Corpus:
    params: CorpusParams
    tree: Tree
    videos: list[Video]  # sorted by name
    facts: dict[str, FileFacts]  # by name of video
    missing: list[tuple[Item, str]]  # with their splits: videos that lists of the corpus name, but that do not exist
    leaks: list[Leak]

    def check_leaks(self) -> None:
        if self.leaks and not self.params.allow_leaks:
            hidden = len(self.leaks) - MAX_LEAKS
            more = f"; and {hidden} more, which index_videos.py --validate lists" if hidden > 0 else ""
            shown = "; ".join(leak.text(max_names=1) for leak in self.leaks[:MAX_LEAKS])
            raise UserError(f"the splits leak: {shown}{more}; {LEAK_REMEDIES}")


def read_corpus(params: CorpusParams) -> Corpus:
    if params.manifest:
        tree = read_manifest(params.manifest, params.data_path, params.columns, params.values)
    else:
        options = TreeOptions(params.compression, params.pictures, params.domain)
        tree = read_tree(params.data_path, params.dataset, options)
    if not params.skip_unknown:
        _check_skipped(tree)
    if params.splits != OFFICIAL:
        tree = _with_split(tree, SPLITS[-1] if params.splits == TEST_ONLY else "")
    items = sorted(tree.items, key=lambda item: item.video)
    missing = sorted(tree.missing, key=lambda item: item.video)
    _check_unique(items)
    facts_by_path = read_file_facts([item.path for item in items], from_root(CACHE), params.workers)
    facts = {item.video: facts_by_path[item.path] for item in items}
    contents = {name: file_facts.content for name, file_facts in facts.items() if file_facts.has_pictures}
    splits = assign_splits([*missing, *items], contents, tree.official, tree.open_splits)
    videos = [_make_video(item, splits[item.video], facts[item.video], tree.dataset) for item in items]
    leaks = find_leaks(videos, contents)
    return Corpus(params, tree, videos, facts, [(item, splits[item.video]) for item in missing], leaks)


def _check_skipped(tree: Tree) -> None:
    """Raise if folders of videos are left out, so that none is left out silently."""
    skipped = [problem for problem in tree.problems if problem.skipped]
    if skipped:
        lines = [f"{problem.path} ({problem.skipped}): {problem.reason}; {problem.remedy}" for problem in skipped]
        more = f"; and {len(skipped) - MAX_FOLDERS} more folders" if len(skipped) > MAX_FOLDERS else ""
        raise UserError(
            f"{sum(problem.skipped for problem in skipped)} files would be left out of the index: "
            f"{'; '.join(lines[:MAX_FOLDERS])}{more}. "
            "To index the others without them, add --skip_unknown, or set index_videos.skip_unknown to true"
        )


def _with_split(tree: Tree, split: str) -> Tree:
    """The same split for all videos in place of the official ones; an empty one is assigned later, by groups of people."""
    items, missing = ([replace(item, split=split) for item in some] for some in (tree.items, tree.missing))
    return replace(tree, items=items, missing=missing, official={}, open_splits=SPLITS)


def _check_unique(items: Sequence[Item]) -> None:
    for item, following in pairwise(items):
        if item.video == following.video:
            raise UserError(f"{item.path} and {following.path} have the same name {item.video}; rename or remove one of them")


def _make_video(item: Item, split: str, facts: FileFacts, dataset: str) -> Video:
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
        kind=item.kind,
        segments=item.segments,
        frame_rate=facts.frame_rate,
    )
