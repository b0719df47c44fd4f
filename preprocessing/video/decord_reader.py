"""Reads video files with decord, which is available for x86-64 only. Refuses videos that decord would decode wrongly."""

from collections.abc import Collection, Iterator
from typing import Protocol

import decord
import numpy as np
from av import VideoFrame

from explain_deepfakes.preprocessing.video.orientation import Orientation
from explain_deepfakes.preprocessing.video.pyav_reader import PyavVideo
from explain_deepfakes.preprocessing.video.video import DecodingStats, Picture, UnreadableVideo, shrunk_size

USE_PYAV = "set read_video.reader to pyav"
# Mean difference in grey levels allowed between the two readers, whose colour conversions of a decoded frame may differ.
TOLERANCE = 2.0


class DecordFrame(Protocol):
    """The array type of decord."""

    shape: tuple[int, ...]

    def asnumpy(self) -> Picture: ...


class DecordVideo:
    def __init__(self, video: PyavVideo) -> None:
        """`video` provides the facts and, for comparison, the first frame."""
        self.video, self.facts = video, video.facts
        if video.orientation != Orientation(False, 0):
            raise UnreadableVideo("decord cannot rotate this video upright", USE_PYAV)
        if video.interlaced:
            raise UnreadableVideo("decord decodes the colours of interlaced video wrongly", USE_PYAV)
        decord.logging.set_level(decord.logging.ERROR)
        self._check_first_frame()

    def frames(
        self, indices: Collection[int] | None, longest_side: int | None, stats: DecodingStats, keep_decoded: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        """`keep_decoded` has no effect: the RGB frames of decord would take twice the memory of decoded frames."""
        size = shrunk_size(self.facts.width, self.facts.height, longest_side)
        requested = range(self.facts.frames_present) if indices is None else sorted(indices)
        requested_set, count = set(requested), 0
        for index, frame in enumerate(self._decode_all()):
            if not requested or index > requested[-1]:
                break
            stats.frames_decoded += 1
            if index in requested_set:
                yield index, self.video.converter.convert(_to_pyav(frame), self.video.orientation, size)
                count += 1
        stats.frames_missing = len(requested) - count
        if stats.frames_decoded < min(self.facts.frames_present, requested[-1] + 1 if requested else 0):
            stats.ended_early = f"decord decodes only {stats.frames_decoded} of its frames; {USE_PYAV}"

    def _check_first_frame(self) -> None:
        first = next(self._decode_all(), None)
        if first is None:
            raise UnreadableVideo("decord cannot read this video", USE_PYAV)
        _, expected = next(self.video.frames([0], None, DecodingStats()))
        if first.shape != expected.shape or np.abs(first.asnumpy().astype(int) - expected).mean() > TOLERANCE:
            raise UnreadableVideo("decord decodes this video wrongly", USE_PYAV)

    def _decode_all(self) -> Iterator[DecordFrame]:
        try:
            reader = decord.VideoReader(self.video.path, num_threads=self.video.reading.decoder_threads)
            while True:
                self.video.send_heartbeat()
                frame = reader.next()
                if self.video.log.pop_errors():
                    raise UnreadableVideo("decord finds damage in it, and cannot tell in which frames", USE_PYAV)
                yield frame
        except (StopIteration, RuntimeError, decord.DECORDError):
            return


def _to_pyav(frame: DecordFrame) -> VideoFrame:
    return VideoFrame.from_ndarray(frame.asnumpy(), "rgb24")
