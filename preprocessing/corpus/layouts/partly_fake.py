"""LAVDF and AVDEEPFAKE1M: clips of which a few seconds are manipulated, in picture, sound or both.

metadata.json                          LAV-DF: [{"file": "test/1.mp4", "split": "test", "modify_video": true,
                                       "fake_periods": [[1.2, 1.9]], "original": "test/2.mp4"}, …]
{train,val,test}_metadata.json         AV-Deepfake1M: [{"file": "id1/abc/0001/fake_video_real_audio.mp4",
                                       "modify_type": "visual_modified", "visual_fake_segments": [[1.2, 1.9]], …}, …]
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, REAL, SPLITS, Segment
from explain_deepfakes.preprocessing.corpus.layouts.records import MediaFinder, Record, add_records, to_posix
from explain_deepfakes.preprocessing.corpus.layouts.tree import Layout, Tree, TreeOptions, identity_from_name, parse_split

LISTS = ("metadata.json", "train_metadata.json", "val_metadata.json", "test_metadata.json")
FAKE_PICTURES = {"visual_modified": FAKE, "both_modified": FAKE, "audio_modified": REAL, "real": REAL}  # by modify_type
SEGMENT_KEYS = ("visual_fake_segments", "visual_fake_periods", "fake_segments", "fake_periods")  # the first one applies

Entry = Mapping[str, Any]


def is_root(folder: Path) -> bool:
    return any(_is_list(folder / name) for name in LISTS)


def _is_list(path: Path) -> bool:
    """Whether a file is such a list, by its first characters: it may have hundreds of megabytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4000)
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") and (b'"modify_' in start)


def read(root: Path, data_path: Path, options: TreeOptions) -> Tree:
    lists = {path: _read_json(path) for name in LISTS if _is_list(path := root / name)}
    is_lavdf = any("modify_type" not in entry for entries in lists.values() for entry in entries)
    tree = Tree("LAVDF" if is_lavdf else "AVDEEPFAKE1M", root)
    records = [record for path, entries in lists.items() for record in _make_records(path, entries)]
    roots = [root, *(root / name for name in ("train", "val", "test") if (root / name).is_dir())]
    finder = MediaFinder(roots)
    add_records(tree, records, finder)
    if not tree.items:
        raise UserError(f"none of the {len(records)} videos in {next(iter(lists))} exists; unpack the archives beside it")
    finder.note_unlisted(tree)
    present = {item.split for item in tree.items}
    tree.open_splits = tuple(split for split in SPLITS if split not in present) or SPLITS
    only_sound = sum(_is_only_sound(entry) for entries in lists.values() for entry in entries)
    if only_sound:
        tree.notes.append(f"{only_sound} videos with manipulated sound only count as real: their pictures are not manipulated")
    return tree


def _read_json(path: Path) -> list[Entry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); download it again") from error
    if not all(isinstance(entry, dict) and "file" in entry for entry in content):
        raise UserError(f"{path} has an entry without 'file'; download it again")
    entries: list[Entry] = content
    return entries


def _make_records(path: Path, entries: list[Entry]) -> Iterator[Record]:
    split_of_list = parse_split(path.stem.partition("_")[0])
    for entry in entries:
        name, label = str(entry["file"]), _label_of(path, entry)
        original = str(entry.get("original") or "")
        person = to_posix(original or name)
        identity = person.parts[0] if len(person.parts) > 2 else person.stem
        yield Record(
            name,
            label,
            parse_split(str(entry.get("split", ""))) or split_of_list,
            (identity_from_name(identity),),
            str(entry.get("modify_type") or ("both_modified" if entry.get("modify_audio") else "visual_modified")),
            (original,) if original else (),
            _segments_of(entry) if label == FAKE else (),
        )


def _label_of(path: Path, entry: Entry) -> int:
    if "modify_type" in entry:
        if str(entry["modify_type"]) not in FAKE_PICTURES:
            raise UserError(f"{path}: '{entry['file']}' has the unknown modify_type '{entry['modify_type']}'")
        return FAKE_PICTURES[entry["modify_type"]]
    return FAKE if entry.get("modify_video") else REAL


def _is_only_sound(entry: Entry) -> bool:
    return entry.get("modify_type") == "audio_modified" or bool(entry.get("modify_audio") and not entry.get("modify_video"))


def _segments_of(entry: Entry) -> tuple[Segment, ...]:
    segments = next((entry[key] for key in SEGMENT_KEYS if key in entry), ())
    try:
        return tuple((float(begin), float(end)) for begin, end in segments)
    except (TypeError, ValueError) as error:
        raise UserError(f"the segments of '{entry['file']}' are '{segments}'; they must be pairs of seconds") from error


LAYOUT = Layout("metadata.json or train_metadata.json, a list with modify_video or modify_type", is_root, read)
