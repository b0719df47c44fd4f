"""Encode a video once or twice, each time with its own codec, quality and size.

A real video and its fakes are encoded alike, so codec, size and quality do not reveal the label.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.portrait_corpus.params import ENCODERS

# For reproducible bytes: one thread, and no x264 macroblock tree, whose results differ from run to run.
OPTIONS = {
    "preset": "veryfast",
    "threads": "1",
    "x264-params": "mbtree=0",
    "x265-params": "log-level=none:pools=none:frame-threads=1",
}


@dataclass(frozen=True)
class VideoEncoding:
    codec: str
    crf: int
    width: int
    height: int

    def text(self) -> str:
        return f"{self.codec} crf {self.crf} {self.width}x{self.height}"


MASK_CRF = 10


def mask_encoding(width: int, height: int) -> VideoEncoding:
    return VideoEncoding("h264", MASK_CRF, width, height)


class _EncodingPass:
    """Encodes pictures to a file or a buffer."""

    def __init__(self, target: str | io.BytesIO, encoding: VideoEncoding, rate: Fraction) -> None:
        self.encoding = encoding
        self.container = av.open(target, "w", format="mp4")
        self.stream = self.container.add_stream(ENCODERS[encoding.codec], rate=rate)
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
    """Encodes pictures one by one. `finish` applies the remaining encodings of the chain and closes the file."""

    def __init__(self, path: Path, chain: tuple[VideoEncoding, ...], frame_rate: int) -> None:
        self.path, self.later_encodings, self.rate = path, chain[1:], Fraction(frame_rate)
        self.buffer = io.BytesIO()
        self.first = _EncodingPass(self.buffer if self.later_encodings else str(path), chain[0], self.rate)

    def write(self, picture: NDArray[np.uint8]) -> None:
        self.first.write(picture)

    def finish(self) -> None:
        self.first.finish()
        buffer = self.buffer
        for number, encoding in enumerate(self.later_encodings, start=1):
            next_buffer = io.BytesIO()
            is_last = number == len(self.later_encodings)
            encoding_pass = _EncodingPass(str(self.path) if is_last else next_buffer, encoding, self.rate)
            for picture in _decoded(buffer):
                encoding_pass.write(picture)
            encoding_pass.finish()
            buffer = next_buffer


def _decoded(buffer: io.BytesIO) -> Iterator[NDArray[np.uint8]]:
    buffer.seek(0)
    with av.open(buffer) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
