"""Video compression of a picture: real encoders, applied in memory to a clip of one or two frames.

Each picture has its own clip: in a shared clip, the fake of a pair would be predicted from its original, or vice versa.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.random import Generator

FRAME_RATE = Fraction(25)
BLOCK = 16  # px, block size of most codecs; a crop's corner may lie anywhere in a block
QUALITY_TO_SCALE = 118  # FF_QP2LAMBDA
FIXED_SCALE = 0x2  # AV_CODEC_FLAG_QSCALE
MIN_SIDE = 64  # px, accepted by every encoder; larger sides must be even
MAX_MOTION = 2  # px
# Encoder: decoder and relative frequency. H.264 is by far the most common codec; HEVC takes three times as long.
CODECS = {"libx264": ("h264", 11), "libx265": ("hevc", 1), "mpeg4": ("mpeg4", 4), "mpeg1video": ("mpeg1video", 4)}
BY_CRF = {
    "libx264": {"preset": "superfast", "tune": "zerolatency"},
    "libx265": {"preset": "ultrafast", "tune": "zerolatency"},
}
X265 = "log-level=none:pools=none:frame-threads=1:wpp=0:ctu=32:max-tu-size=16"


@dataclass(frozen=True)
class Encoding:
    codec: str
    crf: int  # of H.264; other codecs use an equivalent quality
    share: float = 1.0  # of the side lengths at which the picture is encoded
    corner: tuple[int, int] = (0, 0)  # position of the picture's corner in a block
    motion: tuple[float, float] | None = None  # px; the frame is predicted from one displaced by this, or encoded on its own

    @classmethod
    def draw(cls, rng: Generator, best: int, worst: int, least_share: float) -> "Encoding":
        names = [name for name in CODECS if name in av.codecs_available]
        weights = np.array([CODECS[name][1] for name in names], float)
        codec = str(rng.choice(names, p=weights / weights.sum()))
        crf = int(rng.integers(best, worst + 1))
        share = rng.uniform(least_share, 1) if rng.random() < 0.5 else 1.0
        right, down = rng.uniform(-MAX_MOTION, MAX_MOTION, 2).tolist()
        column, row = rng.integers(BLOCK, size=2).tolist()
        return cls(codec, crf, share, (column, row), (right, down) if rng.random() < 0.5 else None)


def encode(picture: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Encode and decode a picture (h, w, 3) uint8 RGB of any size."""
    height, width = picture.shape[:2]
    rows, columns = max(1, round(height * encoding.share)), max(1, round(width * encoding.share))
    small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA) if encoding.share != 1 else picture
    left, top = encoding.corner
    right, bottom = (max(MIN_SIDE - length, -length % 2) for length in (left + columns, top + rows))
    frame = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REPLICATE)
    decoded = _encode_and_decode(_make_clip(frame, encoding), encoding)[top : top + rows, left : left + columns]
    return cv2.resize(decoded, (width, height), interpolation=cv2.INTER_CUBIC) if encoding.share != 1 else decoded


def _make_clip(frame: np.ndarray, encoding: Encoding) -> list[np.ndarray]:
    if encoding.motion is None:
        return [frame]
    shift = np.array([[1, 0, encoding.motion[0]], [0, 1, encoding.motion[1]]])
    previous = cv2.warpAffine(frame, shift, frame.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return [previous, frame]


def _encode_and_decode(frames: list[np.ndarray], encoding: Encoding) -> np.ndarray:
    """The last frame, encoded and decoded."""
    height, width = frames[0].shape[:2]
    decoder = av.CodecContext.create(CODECS[encoding.codec][0], "r")
    decoder.thread_count = 1
    decoded = [picture for packet in _packets(frames, width, height, encoding) for picture in decoder.decode(packet)]
    decoded += decoder.decode(None)
    return decoded[-1].to_ndarray(format="rgb24")


def _packets(frames: list[np.ndarray], width: int, height: int, encoding: Encoding) -> Iterator[av.Packet]:
    encoder = av.CodecContext.create(encoding.codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base, encoder.thread_count, encoder.max_b_frames = FRAME_RATE, 1 / FRAME_RATE, 1, 0
    if encoding.codec in BY_CRF:
        encoder.options = {**BY_CRF[encoding.codec], "crf": str(encoding.crf), "x265-params": X265}
    else:
        scale = quantiser_scale(encoding.crf)
        encoder.qmin = encoder.qmax = scale
        encoder.flags |= FIXED_SCALE
        encoder.global_quality = scale * QUALITY_TO_SCALE
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        yield from encoder.encode(picture)
    yield from encoder.encode(None)


def quantiser_scale(crf: int) -> int:
    """Quantiser of MPEG-1 and MPEG-4 of about the same quality; H.264's doubles every six crf steps."""
    return int(np.clip(round(2 ** ((crf - 12) / 6)), 1, 31))
