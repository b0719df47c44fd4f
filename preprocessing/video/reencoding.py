"""Degrade videos by re-encoding: compression, downscaling, a lower frame rate, or all of these twice, as messengers do."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from explain_deepfakes.pipeline.outputs import atomic_write
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import Picture, open_video

DEFAULT_FRAME_RATE = 25  # of a file that states none


@dataclass(frozen=True)
class EncodingChain:
    """One or several encodings in a row. Size and frame rate change in the first only."""

    codec: str = "libx264"
    crf: int = 18  # rate factor: higher is smaller and worse
    size: float = 1.0  # scale of the sides
    every: int = 1  # keep one frame of this many
    times: int = 1  # number of encodings

    def describe(self) -> str:
        steps = [f"{self.codec.removeprefix('lib')} crf {self.crf}"]
        steps += [f"sides x{self.size:g}"] if self.size != 1 else []
        steps += [f"one frame of {self.every}"] if self.every != 1 else []
        return ", ".join(steps) + (f", {self.times} times" if self.times != 1 else "")


PREVIEW_ENCODING = EncodingChain(crf=20)  # of videos made for viewing
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


def reencode(source: Path, target: Path, chain: EncodingChain, reading: ReadingParams) -> None:
    """Apply an encoding chain to a video file."""
    if chain.times > 1:
        intermediate = target.with_name(f"{target.stem}.between.mp4")
        reencode(source, intermediate, replace(chain, times=1), reading)
        reencode(intermediate, target, replace(chain, times=chain.times - 1, size=1.0, every=1), reading)
        intermediate.unlink()
        return
    with open_video(source, reading) as video:
        rate = (video.facts.frame_rate or DEFAULT_FRAME_RATE) / chain.every
        width, height = (2 * max(8, round(side * chain.size / 2)) for side in (video.facts.width, video.facts.height))
        kept = (picture for number, (_, picture) in enumerate(video.frames()) if number % chain.every == 0)
        write_video(target, kept, width, height, rate, chain)


def write_video(path: Path, pictures: Iterable[Picture], width: int, height: int, rate: float, chain: EncodingChain) -> None:
    """Encode RGB pictures of any size as an MP4 file of this size; both sides must be even. The output is reproducible."""
    with atomic_write(path) as file, av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream(chain.codec, rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(chain.crf), "preset": "veryfast", "threads": "1", "x265-params": "log-level=none:pools=1"}
        for picture in pictures:
            container.mux(stream.encode(_to_frame(picture, width, height)))
        container.mux(stream.encode())


def _to_frame(picture: Picture, width: int, height: int) -> av.VideoFrame:
    if picture.shape[:2] != (height, width):
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
