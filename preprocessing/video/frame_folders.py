"""Folders of pictures that are the frames of a video, in the order of the numbers in their names: 2.png is before 10.png."""

import hashlib
import re
from pathlib import Path

from explain_deepfakes.pipeline.ledger import content_hash

FRAME_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp"))


def is_frame(path: Path) -> bool:
    return path.suffix.lower() in FRAME_SUFFIXES and not path.name.startswith(".") and path.is_file()


def list_frames(folder: Path) -> list[Path]:
    return sorted(filter(is_frame, folder.iterdir()), key=lambda path: _natural_order(path.name))


def _natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)], name


def hash_folder(folder: Path) -> str:
    """Return a hash of the names and contents of the frames."""
    digest = hashlib.sha256()
    for path in list_frames(folder):
        digest.update(f"{path.name} {content_hash(path)}\n".encode())
    return digest.hexdigest()
