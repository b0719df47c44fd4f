"""How a video is encoded: once or twice, each time with a codec, a quality and a size of its own.

A real video and its fakes go the same way, so neither codec nor size nor quality says which of them one is.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ENCODERS = {"h264": "libx264", "hevc": "libx265"}
# The same bytes each time: one thread each, and without x264's macroblock tree, whose results differ from run to run.
OPTIONS = {
    "preset": "veryfast",
    "threads": "1",
    "x264-params": "mbtree=0",
    "x265-params": "log-level=none:pools=none:frame-threads=1",
}


@dataclass(frozen=True)
class Encoding:
    codec: str
    crf: int
    width: int
    height: int

    def text(self) -> str:
        return f"{self.codec} crf {self.crf} {self.width}x{self.height}"


MASK_CRF = 10


def mask_encoding(width: int, height: int) -> Encoding:
    return Encoding("h264", MASK_CRF, width, height)


class _Pass:
    def __init__(self, target: Any, encoding: Encoding, rate: Fraction) -> None:
        self.encoding = encoding
        self.container = av.open(target, "w", format="mp4")
        self.stream: Any = self.container.add_stream(ENCODERS[encoding.codec], rate=rate)
        self.stream.width, self.stream.height, self.stream.pix_fmt = encoding.width, encoding.height, "yuv420p"
        self.stream.options = {"crf": str(encoding.crf), **OPTIONS}

    def write(self, picture: NDArray[np.uint8]) -> None:
        size = self.encoding.width, self.encoding.height
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24" if picture.ndim == 3 else "gray")
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()


class VideoWriter:
    """Takes pictures one by one; `finish` leaves the file that the whole chain of encodings makes of them."""

    def __init__(self, path: Path, chain: tuple[Encoding, ...], frame_rate: int) -> None:
        self.path, self.later, self.rate = path, chain[1:], Fraction(frame_rate)
        self.buffer = io.BytesIO()
        self.first = _Pass(self.buffer if self.later else str(path), chain[0], self.rate)

    def write(self, picture: NDArray[np.uint8]) -> None:
        self.first.write(picture)

    def finish(self) -> None:
        self.first.finish()
        buffer = self.buffer
        for number, encoding in enumerate(self.later, start=1):
            following = io.BytesIO()
            one = _Pass(str(self.path) if number == len(self.later) else following, encoding, self.rate)
            for picture in _decoded(buffer):
                one.write(picture)
            one.finish()
            buffer = following


def _decoded(buffer: io.BytesIO) -> Iterator[NDArray[np.uint8]]:
    buffer.seek(0)
    with av.open(buffer) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
