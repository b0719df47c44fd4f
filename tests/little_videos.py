"""Tiny drawn videos, and helpers for projects and commands."""

import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import cv2
import numpy as np
from warm_commands import run_warm

from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.video.params import ReadingParams

WIDTH, HEIGHT = 160, 120
SKIN, DARK, LIPS = (205, 165, 140), (60, 40, 35), (170, 80, 85)
Drawing = Callable[[int], np.ndarray]


def write_video(path: Path, pictures: Iterable[np.ndarray], header_first: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if header_first else {}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def plain(shade: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), shade, np.uint8)


def numbered(index: int) -> np.ndarray:
    """A picture whose shade encodes its index: 8 grey levels per frame."""
    return plain(16 + 8 * index)


def draw_face(picture: np.ndarray, x: int, y: int, half: int = 26) -> np.ndarray:
    """Draw a minimal face that MTCNN detects, centred at (x, y)."""

    def oval(dx: float, dy: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        centre, axes = (x + round(dx * half), y + round(dy * half)), (round(wide * half), round(high * half))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    oval(0, -0.2, 1.08, 1.4, DARK)
    oval(0, 0, 0.95, 1.3, SKIN)
    for side in (-1, 1):
        oval(0.4 * side, -0.22, 0.2, 0.1, (240, 240, 240))
        oval(0.4 * side, -0.22, 0.09, 0.1, DARK)
        oval(0.4 * side, -0.45, 0.24, 0.05, DARK)
    oval(0, 0.2, 0.1, 0.28, (225, 185, 160))
    oval(0, 0.42, 0.17, 0.07, (165, 120, 100))
    oval(0, 0.75, 0.38, 0.1, LIPS)
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


def face_video(path: Path, seed: int, frames: int = 6) -> Path:
    """Write a video of one person who moves a little; each seed gives another file."""
    rng = np.random.default_rng(seed)
    wall, x, y = int(rng.integers(90, 130)), int(rng.integers(60, 95)), int(rng.integers(52, 66))
    pictures = (draw_face(plain(wall), x + index, y) for index in range(frames))
    noise = rng.normal(0, 3, (HEIGHT, WIDTH, 3))
    return write_video(path, ((picture + noise).clip(0, 255).astype(np.uint8) for picture in pictures))


def reading(**changes: object) -> ReadingParams:
    """Return the reading parameters of params.yaml with these changes."""
    return load_params("read_video", ReadingParams, changes)


def original(data: Path, name: str, compression: str = "c23") -> Path:
    return data / "original_sequences/youtube" / compression / "videos" / f"{name}.mp4"


def fake(data: Path, method: str, name: str) -> Path:
    return data / "manipulated_sequences" / method / "c23/videos" / f"{name}.mp4"


def project(folder: Path) -> Path:
    """Create a project folder with the real params.yaml, for the real commands to run in."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(CODE / "params.yaml", folder)
    (folder / "dvc.yaml").touch()
    return folder


def run_script(folder: Path, script: str, *flags: str) -> subprocess.CompletedProcess:
    return run_warm(CODE / f"preprocessing/{script}.py", flags, folder)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
