"""DFDCP: the preview of the Deepfake Detection Challenge.

original_videos/<person>/<video>.mp4               real
method_A/<person>/<person>_<donor>/<video>.mp4     fake; also method_B
dataset.json                                       {"method_A/…mp4": {"label": "fake", "set": "train", …}, …}
"""

import json
from collections.abc import Iterator
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, SPLITS
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records, to_posix
from explain_deepfakes.preprocessing.corpus.layouts.tree import Layout, Tree, TreeOptions, parse_label, parse_split

LIST, ORIGINALS, METHODS = "dataset.json", "original_videos", ("method_A", "method_B")


def is_root(folder: Path) -> bool:
    folders = [name for name in (ORIGINALS, *METHODS) if (folder / name).is_dir()]
    return len(folders) > 1 or (bool(folders) and (folder / LIST).is_file())


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    tree = Tree("DFDCP", root)
    if not (root / LIST).is_file():
        raise UserError(f"there is no {LIST} in {root}, with labels, people and the test set; download it into that folder")
    finder = MediaFinder([root])
    add_records(tree, list(_read_list(root / LIST)), finder)
    if not tree.items:
        raise UserError(f"none of the {len(tree.missing)} videos in {root / LIST} exists; unpack the archives beside it")
    finder.note_unlisted(tree)
    tree.open_splits = SPLITS[:2]  # the list divides into training and test; validation videos are taken from training
    return tree


def _read_list(path: Path) -> Iterator[Record]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig")).items()
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read as a JSON object ({error}); download it again") from error
    for name, entry in entries:
        label = parse_label(entry.get("label")) if isinstance(entry, dict) else None
        if label is None:
            raise UserError(f"{path}: the entry of '{name}' has no label real or fake; download it again")
        if len(to_posix(name).parts) < 3:
            raise UserError(f"{path}: '{name}' is not a path such as original_videos/1/a.mp4; download it again")
        method, person, *folders = to_posix(name).parts
        people = (entry.get("target_id") or person, entry.get("swapped_id") or folders[0].removeprefix(f"{person}_"))
        split = parse_split(str(entry.get("set", "")))
        yield Record(
            name,
            label,
            split if split != SPLITS[0] else "",
            tuple(dict.fromkeys(map(str, people))) if label == FAKE else (str(people[0]),),
            method,
        )


LAYOUT = Layout(f"{LIST} beside {ORIGINALS}/ and {METHODS[0]}/", is_root, read)
