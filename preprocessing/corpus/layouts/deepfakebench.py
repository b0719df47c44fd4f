"""The lists of DeepfakeBench: JSON files that name the crops of each video, in folders of frames.

{"FaceForensics++": {"FF-DF": {"train": {"c23": {"000_003": {"label": "FF-DF", "frames": ["…/000_003/000.png", …]}}}, …}}}

The level of the compression is missing in other corpora than FaceForensics++. Paths are those of the machine that wrote the
list; the folders are searched by the end of the path. A video in several splits is read once for each, so that it is a leak.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import CROPS, FAKE, ORIGINAL, REAL
from explain_deepfakes.preprocessing.corpus.layouts.class_names import label_by_words
from explain_deepfakes.preprocessing.corpus.layouts.records import to_posix
from explain_deepfakes.preprocessing.corpus.layouts.tree import Item, Tree, identity_from_name, parse_split, video_name

SHORT_SPLITS = {"training_set": "train", "validation_set": "val", "test_set": "test"}

Video = Mapping[str, Any]


def is_list(path: Path) -> bool:
    """Whether the file is such a list: an object of an object of splits."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    by_label = next(iter(content.values()), None) if isinstance(content, dict) else None
    by_split = next(iter(by_label.values()), None) if isinstance(by_label, dict) else None
    return isinstance(by_split, dict) and any(parse_split(word) for word in by_split)


def read_list(path: Path, data_path: Path) -> Tree:
    tree = Tree("DEEPFAKEBENCH", path.parent)
    try:
        videos = list(_videos(path))
    except (AttributeError, TypeError) as error:
        raise UserError(
            f"{path} is not a list of DeepfakeBench: its objects are not nested as dataset, class, split, video"
        ) from error
    counts = Counter((class_name, name) for class_name, _, name, _ in videos)
    for class_name, split, name, video in videos:
        label = label_by_words(class_name.replace("-", " ").replace("_", " "))
        label = FAKE if label is None else label  # classes of fakes are named after their method
        stem = name if counts[class_name, name] == 1 else f"{SHORT_SPLITS[split]}_{name}"
        method = ORIGINAL if label == REAL else class_name
        people = name.split("_")
        identities = tuple(map(identity_from_name, people[:2] if label == FAKE else people[:1]))
        made_from = (video_name(ORIGINAL, people[0]),) if label == FAKE and len(people) == 2 else ()
        folder = _find_folder(video, data_path)
        item = Item(folder or data_path / name, method, label, identities, stem, made_from, split, kind=CROPS)
        (tree.items if folder else tree.missing).append(item)
    if not tree.items:
        first = next(iter(videos[0][3]["frames"]), "") if videos else ""
        raise UserError(
            f"none of the {len(videos)} folders of frames in {path} exists below {data_path}, such as that of {first}"
        )
    return tree


def _videos(path: Path) -> Iterator[tuple[str, str, str, Video]]:
    """Yield the class, split, name and entry of each video."""
    for by_label in json.loads(path.read_text(encoding="utf-8-sig")).values():
        for class_name, by_split in by_label.items():
            for word, videos in by_split.items():
                split = parse_split(word)
                if not split:
                    raise UserError(f"{path}: '{word}' of {class_name} is none of train, val and test")
                by_name = videos.values() if videos and all("frames" not in video for video in videos.values()) else [videos]
                for compressed in by_name:
                    for name, video in compressed.items():
                        if not isinstance(video.get("frames"), list):
                            raise UserError(f"{path}: the video '{name}' of {class_name} has no list 'frames'")
                        yield class_name, split, name, video


def _find_folder(video: Video, data_path: Path) -> Path | None:
    """Return the folder of the frames: the longest end of its path that exists below the data path."""
    frames = video.get("frames") or ()
    if not frames:
        return None
    parts = to_posix(str(frames[0])).parent.parts
    candidates = (data_path / PurePosixPath(*parts[begin:]) for begin in range(len(parts)))
    return next((folder for folder in candidates if folder.is_dir()), None)
