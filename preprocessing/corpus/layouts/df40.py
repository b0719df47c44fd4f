"""DF40: crops of fakes by forty methods, for training (DF40_train) and for tests (DF40).

DF40/<method>/{ff,cdf}/frames/<clip>/<number>.png     fakes of FaceForensics++ and of Celeb-DF; `frames` is often missing
DF40/<method>/{fake,real}/…                           nine methods with real pictures of their own, often without <clip>
DF40_train/<method>/frames/<clip>/<number>.png        fakes of FaceForensics++
FaceForensics++/, Celeb-DF-v2/                        their real videos, in the layouts of these corpora

Each picture that is in no folder of a clip is a video of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import CROPS, FAKE, ORIGINAL, REAL, SPLITS
from explain_deepfakes.preprocessing.corpus.layouts import celebdf, faceforensics
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    ALL_DOMAINS,
    GENERATED_FOLDERS,
    IMAGE_SUFFIXES,
    Item,
    Layout,
    Tree,
    TreeOptions,
    identity_from_name,
    is_media,
    list_entries,
    list_frame_folders,
    report_unexpected,
)

TESTS, TRAINING = "DF40", "DF40_train"
FACEFORENSICS, CELEBDF, OWN = DOMAINS = ("ff", "cdf", "own")
REAL_CORPORA = {FACEFORENSICS: ("FaceForensics++", faceforensics.LAYOUT), CELEBDF: ("Celeb-DF-v2", celebdf.LAYOUT)}
NOT_IN_STEM = ("frames", "fake", "real")
NOT_CLIPS = (*NOT_IN_STEM, FACEFORENSICS, CELEBDF)
PEOPLE = re.compile(r"(\d{3})(?:_(\d{3}))?|(id\d+)(?:_(id\d+))?_\d+")  # as in FaceForensics++ and Celeb-DF


@dataclass(frozen=True)
class Clip:
    """A folder with the pictures of a clip, or a picture that is in no such folder."""

    path: Path
    method: str
    is_training: bool
    parts: tuple[str, ...]  # of the path below the folder of the method

    @property
    def name(self) -> str:
        return self.path.stem if self.path.suffix.lower() in IMAGE_SUFFIXES else self.path.name

    @property
    def domain(self) -> str:
        if self.is_training or self.parts[0] == FACEFORENSICS:
            return FACEFORENSICS
        return CELEBDF if self.parts[0] == CELEBDF else OWN


def is_root(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in (TESTS, TRAINING)) or _is_half(folder)


def _is_half(folder: Path) -> bool:
    """Whether the folder is one of the two halves."""
    return folder.name in (TESTS, TRAINING) and any(
        (method / name).is_dir() for method in list_entries(folder)[0] for name in NOT_CLIPS
    )


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("DF40", root)
    halves = [root] if _is_half(root) else [root / name for name in (TESTS, TRAINING) if (root / name).is_dir()]
    if halves != [root]:
        real_folders = {name for name, _ in REAL_CORPORA.values()}
        report_unexpected(root, {TESTS, TRAINING, *real_folders, *GENERATED_FOLDERS}, tree.problems)
    clips = [clip for half in halves for clip in _find_clips(half, tree)]
    tree.items += [_make_item(clip) for clip in clips if options.domain in (ALL_DOMAINS, clip.domain)]
    if not tree.items:
        raise UserError(f"no pictures of the domain '{options.domain}' below {root}; unpack the archives first")
    tree.open_splits = SPLITS[:2]  # validation videos are taken from DF40_train
    tested = {identity for item in tree.items for identity in item.identities if item.split}
    tree.official = dict.fromkeys(tested, SPLITS[2])
    for domain in DOMAINS:
        if domain in REAL_CORPORA and any(clip.domain == domain for clip in clips) and options.domain in (ALL_DOMAINS, domain):
            _add_real_videos(domain, tree, options)
    return tree


def _find_clips(half: Path, tree: Tree) -> Iterator[Clip]:
    methods = [path for path in list_entries(half)[0] if path.name not in GENERATED_FOLDERS]
    report_unexpected(half, {*(path.name for path in methods), *GENERATED_FOLDERS}, tree.problems)
    for method in methods:
        for folder in list_frame_folders(method):
            pictures = [path for path in list_entries(folder)[1] if is_media(path, IMAGE_SUFFIXES)]
            for path in pictures if folder.name in NOT_CLIPS else [folder]:
                yield Clip(path, method.name, half.name == TRAINING, path.relative_to(method).parts)


def _make_item(clip: Clip) -> Item:
    is_real = "real" in clip.parts
    names = [part for part in (*clip.parts[:-1], clip.name) if part not in NOT_IN_STEM]
    stem = "_".join([*([clip.method] if is_real else []), *(["train"] if clip.is_training else []), *names])
    people = PEOPLE.fullmatch(clip.name)
    identities = [name for name in people.groups() if name] if people else [identity_from_name("-".join((clip.method, *names)))]
    method, label = (ORIGINAL, REAL) if is_real else (clip.method, FAKE)
    split = "" if clip.is_training else SPLITS[2]
    return Item(clip.path, method, label, tuple(identities), stem, split=split, kind=CROPS)


def _add_real_videos(domain: str, tree: Tree, options: TreeOptions) -> None:
    """Add the real videos of the corpus that the fakes of a domain were made from; those of its test list are for testing."""
    name, layout = REAL_CORPORA[domain]
    folder = tree.root / name
    if not (folder.is_dir() and layout.is_root(folder)):
        tree.notes.append(f"the real videos of the domain '{domain}' are missing: put those of {name} into {folder}")
        return
    corpus = layout.read(folder, folder, options)
    items = [item for item in corpus.items if item.label == REAL]
    if domain == CELEBDF:
        listed = [item for item in items if item.split] or items
        if left_out := len(items) - len(listed):
            tree.notes.append(f"{left_out} real videos of {name} that are not in its test list are left out")
        items = [replace(item, split=SPLITS[2]) for item in listed]
    tree.items += items
    tree.missing += [item for item in corpus.missing if item.label == REAL]
    tree.problems += corpus.problems
    tree.notes += corpus.notes
    tree.official |= {identity: split for identity, split in corpus.official.items() if split == SPLITS[2]}


LAYOUT = Layout(f"{TESTS}/<method>/ff/ or {TRAINING}/<method>/", is_root, read)
