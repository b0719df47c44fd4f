"""Trees of each layout that the tests build from tiny videos, with the quirks of the real ones."""

import csv
import json
import signal
import struct
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from little_videos import fake, numbered, original, write_video

from preprocessing.file_facts import Facts, look_at

FF_METHODS = ("Deepfakes", "FaceSwap")
FF_PAIRS = {"train": [["000", "003"]], "val": [["010", "011"]], "test": [["020", "021"]]}
CELEB_FILES = {
    "Celeb-real": ("id0_0000", "id0_0001", "id1_0000", "id2_0000"),
    "Celeb-synthesis": ("id0_id1_0000", "id1_id0_0000"),
    "YouTube-real": ("00000", "00170"),
}


@cache
def little_video() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / "a.mp4", map(numbered, range(5))).read_bytes()


def put_video(path: Path, mark: str | None = None) -> Path:
    """A video of 0.2 seconds. No two marks (the paths, if none is given) give the same bytes: a box of its own holds them."""
    payload = (mark or str(path)).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(little_video() + struct.pack(">I4s", 8 + len(payload), b"free") + payload)
    return path


def put_picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((8, 8, 3), shade, np.uint8))
    return path


def put_text(path: Path, text: str = "some words\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def put_json(path: Path, content: Any) -> Path:
    return put_text(path, json.dumps(content))


def put_csv(path: Path, rows: Iterable[Iterable[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def stumble_over(path: Path) -> tuple[Path, Facts]:
    """Looks at files as the commands do, but for two that the library cannot bear."""
    if path.stem == "crash":
        signal.raise_signal(signal.SIGSEGV)
    if path.stem == "hang":
        signal.alarm(1)
        time.sleep(60)
    return look_at(path)


def faceforensics(data: Path) -> Path:
    """Two originals, and a fake of each method, in each split; one fake's mask."""
    for pairs in FF_PAIRS.values():
        for target, source in pairs:
            for path in (original(data, target), original(data, source)):
                put_video(path)
            for method in FF_METHODS:
                put_video(fake(data, method, f"{target}_{source}"))
    put_video(data / "manipulated_sequences/FaceSwap/masks/videos/000_003.mp4")
    for name, pairs in FF_PAIRS.items():
        put_json(data / f"splits/{name}.json", pairs)
    return data


def deepfakedetection(data: Path) -> Path:
    """What DeepFakeDetection adds to it."""
    put_video(data / "original_sequences/actors/c23/videos/01__exit_phone_room.mp4")
    put_video(data / "original_sequences/actors/c23/videos/02__exit_phone_room.mp4")
    put_video(fake(data, "DeepFakeDetection", "01_02__exit_phone_room__YVGY8LOK"))
    return data


def dfdc_part(folder: Path, videos: Mapping[str, str | None]) -> Path:
    """Each video's name, and for a fake that of its original."""
    content = {
        name: {"label": "FAKE", "split": "train", "original": of}
        if of
        else {"label": "REAL", "split": "train", "original": None}
        for name, of in videos.items()
    }
    put_json(folder / "metadata.json", content)
    for name in videos:
        put_video(folder / name)
    return folder


def dfdc(data: Path) -> Path:
    """Two parts, the second as its archive unpacks: in a folder named almost as itself."""
    dfdc_part(data / "dfdc_train_part_0", {"aa.mp4": None, "ab.mp4": "aa.mp4", "ac.mp4": "aa.mp4"})
    dfdc_part(data / "dfdc_train_part_01/dfdc_train_part_1", {"ba.mp4": None, "bb.mp4": "ba.mp4"})
    return data


def celebdf(data: Path, test_list: Iterable[str] = ("1 YouTube-real/00170.mp4", "1 Celeb-real/id2_0000.mp4")) -> Path:
    for folder, stems in CELEB_FILES.items():
        for stem in stems:
            put_video(data / folder / f"{stem}.mp4")
    put_text(data / "List_of_testing_videos.txt", "\n".join(test_list) + "\n")
    return data


def folder(data: Path, real: str = "real", fakes: str = "fake", count: int = 3) -> Path:
    for number in range(count):
        put_video(data / real / f"r{number}.mp4")
        put_video(data / fakes / f"f{number}.mp4")
    return data
