"""FORGERYNET: the videos of ForgeryNet.

Training/video/<name>.mp4, or folders of frames
Training/….txt                     lines of `<name> <2-way label> <3-way label> <16-way label>`; 0 is real
Validation/…                       the same; it is our test set, since the labels of the official one are not published
"""

from collections.abc import Iterator
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records
from explain_deepfakes.preprocessing.corpus.layouts.tree import Layout, Tree, TreeOptions, list_entries, parse_label

PARTS = {"training": "", "validation": SPLITS[2]}
VIDEOS, COLUMNS = "video", 4
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
    return any(path.name.lower() in PARTS and (path / VIDEOS).is_dir() for path in list_entries(folder)[0])


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("FORGERYNET", root)
    for part in list_entries(root)[0]:
        if part.name.lower() in PARTS and (part / VIDEOS).is_dir():
            lists = [path for folder in (part, part / VIDEOS) for path in list_entries(folder)[1] if _is_list(path)]
            if not lists:
                raise UserError(f"{part} has no list of labels, with lines of name and three labels; put it beside {VIDEOS}/")
            records = [record for path in lists for record in _read_list(path, PARTS[part.name.lower()])]
            add_records(tree, records, MediaFinder([part / VIDEOS]))
    if not tree.items:
        raise UserError(f"none of the {len(tree.missing)} listed videos exists below {root}; unpack the archives")
    tree.open_splits = SPLITS[:2]
    return tree


def _is_list(path: Path) -> bool:
    if path.suffix.lower() != ".txt":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        words = file.readline().rsplit(maxsplit=COLUMNS - 1)
    return len(words) == COLUMNS and all(word.isdecimal() for word in words[1:])


def _read_list(path: Path, split: str) -> Iterator[Record]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        words = line.rsplit(maxsplit=COLUMNS - 1)
        label = parse_label(words[1]) if len(words) == COLUMNS else None
        if label is None or not words[3].isdecimal() or int(words[3]) >= len(METHODS):
            raise UserError(f"{path}, line {number}: '{line.strip()}' does not have the form '<name> 1 2 5'")
        yield Record(words[0], label, split, method=METHODS[int(words[3])])


LAYOUT = Layout(f"Training/{VIDEOS}/ with a list of labels", is_root, read)
