"""FORGERYNET: the videos of ForgeryNet.

Training/video/<name>.mp4, or folders of frames; also `videos`
Training/….txt                     lines of `<name> <2-way label> <3-way label> <16-way label>`, where 0 is real; in lists of
                                   videos `<n> <name> [<frame> <frames> <0 or 1>]*n <labels>`, with n parts
Validation/…                       the same; it is our test set, since the labels of the official one are not published

The pictures of ForgeryNet, in the folder `image`, are not read.
"""

from collections.abc import Iterator
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records
from explain_deepfakes.preprocessing.corpus.layouts.tree import (
    IMAGE_SUFFIXES,
    Layout,
    Tree,
    TreeOptions,
    list_entries,
    parse_label,
)

PARTS = {"training": "", "validation": SPLITS[2]}
VIDEO_FOLDERS, IMAGES, COLUMNS = ("video", "videos"), ("image", "images"), 4
PART_COLUMNS = 3  # of each part of a video, in the lists of videos
METHODS = (  # by the 16-way label
    "real",
    "FaceShifter",
    "FS-GAN",
    "DeepFakes",
    "BlendFace",
    "MMReplacement",
    "DeepFakes-StarGAN-Stack",
    "Talking-Head-Video",
    "ATVG-Net",
    "StarGAN-BlendFace-Stack",
    "First-Order-Motion",
    "StyleGAN2",
    "MaskGAN",
    "StarGAN2",
    "SC-FEGAN",
    "DiscoFaceGAN",
)


def is_root(folder: Path) -> bool:
    return any(path.name.lower() in PARTS and _find_videos(path) for path in list_entries(folder)[0])


def _find_videos(part: Path) -> Path | None:
    return next((part / name for name in VIDEO_FOLDERS if (part / name).is_dir()), None)


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("FORGERYNET", root)
    for part in list_entries(root)[0]:
        if part.name.lower() not in PARTS or not (videos := _find_videos(part)):
            continue
        lists = [path for folder in (part, videos) for path in list_entries(folder)[1] if _is_list(path)]
        if not lists:
            raise UserError(f"{part} has no list of labels, with lines of name and three labels; put it beside {videos.name}/")
        records = [record for path in lists for record in _read_list(path, PARTS[part.name.lower()])]
        finder = MediaFinder([videos])
        add_records(tree, records, finder)
        finder.note_unlisted(tree)
        for name in IMAGES:
            if (part / name).is_dir():
                tree.notes.append(f"the pictures in {part / name} are not read, only the videos")
    if not tree.items:
        raise UserError(f"none of the {len(tree.missing)} listed videos exists below {root}; unpack the archives")
    tree.open_splits = SPLITS[:2]
    tree.notes.append(
        "the parts of the videos that the lists call fake are not read: all frames of a fake count as manipulated"
    )
    return tree


def _is_list(path: Path) -> bool:
    """Whether it is a list of videos, not of pictures."""
    if path.suffix.lower() != ".txt":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        row = _parse_line(file.readline())
    return row is not None and Path(row[0]).suffix.lower() not in IMAGE_SUFFIXES


def _parse_line(line: str) -> tuple[str, list[int]] | None:
    """Return the name of a video and its three labels; None if the line has another form."""
    name, *words = line.rsplit(maxsplit=COLUMNS - 1) or [""]
    if len(words) != COLUMNS - 1 or not all(word.isdecimal() for word in words):
        return None
    count, _, rest = name.partition(" ")
    parts = rest.rsplit(maxsplit=PART_COLUMNS * int(count)) if count.isdecimal() and rest else []
    if parts and len(parts) == PART_COLUMNS * int(count) + 1 and all(word.isdecimal() for word in parts[1:]):
        name = parts[0]
    return name, list(map(int, words))


def _read_list(path: Path, split: str) -> Iterator[Record]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        row = _parse_line(line)
        label = parse_label(row[1][0]) if row else None
        if not row or label is None or row[1][2] >= len(METHODS):
            raise UserError(f"{path}, line {number}: '{line.strip()}' does not have the form '<name> 1 2 5'")
        yield Record(row[0], label, split, method=METHODS[row[1][2]])


LAYOUT = Layout(f"Training/{VIDEO_FOLDERS[0]}/ with a list of labels", is_root, read)
