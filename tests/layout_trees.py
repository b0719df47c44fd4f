"""Builders of a directory tree for each corpus layout, from tiny videos, with the quirks of the published corpora."""

import csv
import json
import shutil
import signal
import struct
import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from little_videos import face_video, fake, numbered, original, write_video

from explain_deepfakes.preprocessing.corpus.file_facts import FileFacts, inspect_file

FF_METHODS = ("Deepfakes", "FaceSwap")
FF_PAIRS = {"train": [["000", "003"]], "val": [["010", "011"]], "test": [["020", "021"]]}
CELEB_FILES = {
    "Celeb-real": ("id0_0000", "id0_0001", "id1_0000", "id2_0000"),
    "Celeb-synthesis": ("id0_id1_0000", "id1_id0_0000"),
    "YouTube-real": ("00000", "00170"),
}


@cache
def tiny_video() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / "a.mp4", map(numbered, range(5))).read_bytes()


def add_video(path: Path, mark: str | None = None) -> Path:
    """Write a video of 0.2 seconds. Its bytes depend on the mark (default: the path), which is stored in an extra MP4 box."""
    payload = (mark or str(path)).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny_video() + struct.pack(">I4s", 8 + len(payload), b"free") + payload)
    return path


def add_picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((8, 8, 3), shade, np.uint8))
    return path


def add_text(path: Path, text: str = "some words\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def add_json(path: Path, content: object) -> Path:
    return add_text(path, json.dumps(content))


def add_csv(path: Path, rows: Iterable[Iterable[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def inspect_or_crash(path: Path) -> tuple[Path, FileFacts]:
    """Inspect a file as the commands do, but simulate a crash or a hang of the library for two names."""
    if path.stem == "crash":
        signal.raise_signal(signal.SIGSEGV)
    if path.stem == "hang":
        signal.alarm(1)
        time.sleep(60)
    return inspect_file(path)


def faceforensics(data: Path) -> Path:
    """Two originals and a fake of each method per split, and the mask of one fake."""
    for pairs in FF_PAIRS.values():
        for target, source in pairs:
            for path in (original(data, target), original(data, source)):
                add_video(path)
            for method in FF_METHODS:
                add_video(fake(data, method, f"{target}_{source}"))
    add_video(data / "manipulated_sequences/FaceSwap/masks/videos/000_003.mp4")
    for name, pairs in FF_PAIRS.items():
        add_json(data / f"splits/{name}.json", pairs)
    return data


def deepfakedetection(data: Path) -> Path:
    """Add the videos of DeepFakeDetection."""
    add_video(data / "original_sequences/actors/c23/videos/01__exit_phone_room.mp4")
    add_video(data / "original_sequences/actors/c23/videos/02__exit_phone_room.mp4")
    add_video(fake(data, "DeepFakeDetection", "01_02__exit_phone_room__YVGY8LOK"))
    return data


def dfdc_part(folder: Path, videos: Mapping[str, str | None]) -> Path:
    """Write one part; `videos` maps each name to the name of its original, or to None for a real video."""
    content = {
        name: {"label": "FAKE", "split": "train", "original": of}
        if of
        else {"label": "REAL", "split": "train", "original": None}
        for name, of in videos.items()
    }
    add_json(folder / "metadata.json", content)
    for name in videos:
        add_video(folder / name)
    return folder


def dfdc(data: Path) -> Path:
    """Two parts, the second in a nested folder, as its archive unpacks."""
    dfdc_part(data / "dfdc_train_part_0", {"aa.mp4": None, "ab.mp4": "aa.mp4", "ac.mp4": "aa.mp4"})
    dfdc_part(data / "dfdc_train_part_01/dfdc_train_part_1", {"ba.mp4": None, "bb.mp4": "ba.mp4"})
    return data


def celebdf(data: Path, test_list: Iterable[str] = ("1 YouTube-real/00170.mp4", "1 Celeb-real/id2_0000.mp4")) -> Path:
    for folder, stems in CELEB_FILES.items():
        for stem in stems:
            add_video(data / folder / f"{stem}.mp4")
    add_text(data / "List_of_testing_videos.txt", "\n".join(test_list) + "\n")
    return data


def folder(data: Path, real: str = "real", fakes: str = "fake", count: int = 3) -> Path:
    for number in range(count):
        add_video(data / real / f"r{number}.mp4")
        add_video(data / fakes / f"f{number}.mp4")
    return data


# Trees of videos with faces, small enough to go through every stage

Pair = tuple[Path, Path]  # a video of a face, and a fake of it


def face_pairs(folder: Path, count: int, frames: int = 6) -> list[Pair]:
    """Videos of small drawn faces. The fakes cannot be recognised, but every stage runs on them."""
    paths = ((folder / f"original_{number}.mp4", folder / f"fake_{number}.mp4") for number in range(count))
    return [
        (face_video(original_path, number, frames), face_video(fake_path, 1000 + number, frames))
        for number, (original_path, fake_path) in enumerate(paths)
    ]


def demo_pairs(demo: Path, method: str = "FaceSwap") -> list[Pair]:
    """Return the pairs of a demo corpus that make_demo_videos created."""
    fakes = sorted((demo / "manipulated_sequences" / method / "c23/videos").glob("*.mp4"))
    return [(original(demo, path.stem.split("_")[0]), path) for path in fakes]


class Copies:
    """Copies the videos, in turn, to the paths of a corpus; no two copies have the same bytes."""

    def __init__(self, root: Path, videos: Iterable[Pair]) -> None:
        self.root, self.videos, self.used = root, cycle(videos), dict[str, Pair]()

    def real(self, name: str) -> None:
        self.used[Path(name).stem] = next(self.videos)
        self._copy(self.used[Path(name).stem][0], name)

    def fake(self, name: str, of: str) -> None:
        """Copy a fake of the real video that has the stem `of`."""
        self._copy(self.used[of][1], name)

    def _copy(self, video: Path, name: str) -> None:
        mark = name.encode()
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video.read_bytes() + struct.pack(">I4s", 8 + len(mark), b"free") + mark)


TESTED = (20, 21, 22, 23)  # all of their videos are on the test list
CELEBRITIES = (0, 1, 2, 3, 4, 5, 10, 11, 14, 15, *TESTED)  # neighbours swap faces; 10 to 15 end up in the validation set


def make_celebdf_tree(root: Path, videos: Iterable[Pair], methods: Iterable[str] = ("",)) -> Path:
    """Celeb-DF v2: three real videos per celebrity, of which two have fakes; and YouTube videos without fakes.

    `methods`: folders of the fakes, for Celeb-DF++.
    """
    copies, lines = Copies(root, videos), []
    for person in CELEBRITIES:
        for number in range(3):
            copies.real(f"Celeb-real/id{person}_{number:04}.mp4")
            lines += [f"1 Celeb-real/id{person}_{number:04}.mp4"] if person in TESTED else []
        for method in methods:
            for number in range(2):
                path = f"Celeb-synthesis/{method}/id{person}_id{person ^ 1}_{number:04}.mp4".replace("//", "/")
                copies.fake(path, of=f"id{person}_{number:04}")
                lines += [f"0 {path}"] if person in TESTED else []
    for number in range(8):
        copies.real(f"YouTube-real/{number:05}.mp4")
    add_text(root / "List_of_testing_videos.txt", "\n".join([*lines, "1 YouTube-real/00007.mp4"]) + "\n")
    return root


def make_celebdfpp_tree(root: Path, videos: Iterable[Pair]) -> Path:
    return make_celebdf_tree(root, videos, ("FaceSwap/Celeb-DF", "FaceReenact/DaGAN", "TalkingFace/SadTalker"))


def make_deeperforensics_tree(root: Path, videos: Iterable[Pair], with_targets: bool = True) -> Path:
    """An actor's face on each target, in two variants. The targets belong to FaceForensics++ and may be missing."""
    copies = Copies(root, videos)
    splits = {"train": range(6), "val": range(6, 9), "test": range(9, 12)}
    for split, numbers in splits.items():
        add_text(root / f"lists/splits/{split}.txt", "".join(f"{number:03}_M{101 + number}.mp4\n" for number in numbers))
        for number in numbers:
            actor = f"M{101 + number}"
            copies.real(f"original_sequences/youtube/c23/videos/{number:03}.mp4")
            for variant in ("end_to_end", "end_to_end_level_1"):
                copies.fake(f"manipulated_videos/{variant}/{number:03}_{actor}.mp4", of=f"{number:03}")
            for mood in ("happy", "sad"):
                name = f"{actor}_light_uniform_{mood}_camera_front"
                copies.real(f"source_videos/{actor}/light_uniform/{mood}/camera_front/{name}.mp4")
    if not with_targets:
        shutil.rmtree(root / "original_sequences")
    return root


def add_youtube_videos(copies: Copies, splits: Mapping[str, range]) -> None:
    """The YouTube videos of FaceForensics++ with fakes of two methods. Neighbours swap faces."""
    for split, numbers in splits.items():
        add_json(copies.root / f"splits/{split}.json", [[f"{number:03}", f"{number + 1:03}"] for number in numbers[::2]])
        for number in numbers:
            copies.real(f"original_sequences/youtube/c23/videos/{number:03}.mp4")
            for method in FF_METHODS:
                path = f"manipulated_sequences/{method}/c23/videos/{number:03}_{number ^ 1:03}.mp4"
                copies.fake(path, of=f"{number:03}")


def make_faceforensics_with_actors_tree(root: Path, videos: Iterable[Pair]) -> Path:
    """YouTube videos; and actors with two scenes each, one of which has a fake."""
    copies = Copies(root, videos)
    add_youtube_videos(copies, {"train": range(8), "val": range(8, 12), "test": range(12, 16)})
    for actor in range(1, 13):
        partner = actor + 1 if actor % 2 else actor - 1
        for scene in ("exit_phone_room", "kitchen_pan"):
            copies.real(f"original_sequences/actors/c23/videos/{actor:02}__{scene}.mp4")
        path = f"manipulated_sequences/DeepFakeDetection/c23/videos/{actor:02}_{partner:02}__kitchen_pan__YVGY8LOK.mp4"
        copies.fake(path, of=f"{actor:02}__kitchen_pan")
    return root
