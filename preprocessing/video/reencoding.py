"""What becomes of videos on their way: compressed anew, smaller, with fewer frames; or all of it, twice, as by messengers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.outputs import atomic_write
from preprocessing.video.video import Reading, open_video

USUAL_RATE = 25  # where a video says none


@dataclass(frozen=True)
class EncodingChain:
    """One that a video goes."""

    codec: str = "libx264"
    crf: int = 18  # of the encoder: higher is smaller, and worse
    size: float = 1.0  # share of the sides
    every: int = 1  # so many frames, one is left
    times: int = 1

    def words(self) -> str:
        told = [f"{self.codec.removeprefix('lib')} crf {self.crf}"]
        told += [f"sides x{self.size:g}"] if self.size != 1 else []
        told += [f"one frame of {self.every}"] if self.every != 1 else []
        return ", ".join(told) + (f", {self.times} times" if self.times != 1 else "")


SHOWN = EncodingChain(crf=20)  # of videos for people to look at
SEVERITIES = 3
ENCODING_CHAINS: dict[str, tuple[EncodingChain, ...]] = {
    "h264": tuple(EncodingChain(crf=crf) for crf in (28, 35, 42)),
    "hevc": tuple(EncodingChain("libx265", crf=crf) for crf in (28, 35, 42)),
    "resolution": tuple(EncodingChain(size=size) for size in (0.75, 0.5, 0.35)),
    "frame_rate": tuple(EncodingChain(every=every) for every in (2, 4, 8)),
    "messenger": (
        EncodingChain(crf=28, size=0.75, times=2),
        EncodingChain(crf=32, size=0.7, every=2, times=2),
        EncodingChain(crf=36, size=0.6, every=2, times=2),
    ),
}


def reencode(source: Path, target: Path, way: EncodingChain, reading: Reading) -> None:
    """Size and frame rate change the first time only."""
    if way.times > 1:
        between = target.with_name(f"{target.stem}.between.mp4")
        reencode(source, between, replace(way, times=1), reading)
        reencode(between, target, replace(way, times=way.times - 1, size=1.0, every=1), reading)
        between.unlink()
        return
    with open_video(source, reading) as video:
        rate = (video.facts.frame_rate or USUAL_RATE) / way.every
        width, height = (2 * max(8, round(side * way.size / 2)) for side in (video.facts.width, video.facts.height))
        left = (picture for number, (_, picture) in enumerate(video.frames()) if number % way.every == 0)
        write_video(target, left, width, height, rate, way)


def write_video(path: Path, pictures: Iterable[np.ndarray], width: int, height: int, rate: float, way: EncodingChain) -> None:
    """RGB pictures of any size -> an MP4 file of that size, of even sides. The same bytes each time."""
    with atomic_write(path) as file, av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream(way.codec, rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(way.crf), "preset": "veryfast", "threads": "1", "x265-params": "log-level=none:pools=1"}
        for picture in pictures:
            container.mux(stream.encode(_frame(picture, width, height)))
        container.mux(stream.encode())


def _frame(picture: np.ndarray, width: int, height: int) -> av.VideoFrame:
    if picture.shape[:2] != (height, width):
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
