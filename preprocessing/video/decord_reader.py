"""A file -> its frames, by decord, which there is only for x86-64. What it would get wrong it is not asked for."""

from collections.abc import Collection, Iterator
from typing import Any

import decord
import numpy as np
from av import VideoFrame

from preprocessing.video.orientation import Turn
from preprocessing.video.pyav_reader import PyavVideo
from preprocessing.video.video import Account, Picture, UnreadableVideo, shrunk_size

USE_PYAV = "set read_video.reader to pyav"
# Levels of brightness, by which the two may differ in colour conversion of the same decoded frame, on average.
TOLERANCE = 2.0


class DecordVideo:
    def __init__(self, video: PyavVideo) -> None:
        """What the file holds is known already, and how its first frame looks."""
        self.video, self.facts = video, video.facts
        if video.turn != Turn(False, 0):
            raise UnreadableVideo("decord cannot turn this video upright", USE_PYAV)
        if video.interlaced:
            raise UnreadableVideo("decord gets the colours of interlaced video wrong", USE_PYAV)
        decord.logging.set_level(decord.logging.ERROR)
        self._check_first_frame()

    def frames(
        self, indices: Collection[int] | None, longest_side: int | None, account: Account, again: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        """`again` changes nothing: decord gives pictures of which each would take twice a decoded frame's memory."""
        size = shrunk_size(self.facts.width, self.facts.height, longest_side)
        wanted = range(self.facts.frames_present) if indices is None else sorted(indices)
        asked, given = set(wanted), 0
        for index, frame in enumerate(self._in_order()):
            if not wanted or index > wanted[-1]:
                break
            account.frames_decoded += 1
            if index in asked:
                yield index, self.video.converter.convert(_as_frame(frame), self.video.turn, size)
                given += 1
        account.frames_missing = len(wanted) - given
        if account.frames_decoded < min(self.facts.frames_present, wanted[-1] + 1 if wanted else 0):
            account.ended_early = f"decord gives no more than {account.frames_decoded} frames of it; {USE_PYAV}"

    def _check_first_frame(self) -> None:
        first = next(self._in_order(), None)
        if first is None:
            raise UnreadableVideo("decord cannot read this video", USE_PYAV)
        _, expected = next(self.video.frames([0], None, Account()))
        if first.shape != expected.shape or np.abs(first.asnumpy().astype(int) - expected).mean() > TOLERANCE:
            raise UnreadableVideo("decord gets the picture of this video wrong", USE_PYAV)

    def _in_order(self) -> Iterator[Any]:
        try:
            reader = decord.VideoReader(self.video.path, num_threads=self.video.reading.decoder_threads)
            while True:
                self.video.alive()
                frame = reader.next()
                if self.video.complaints.came():
                    raise UnreadableVideo("decord meets damage in it, and does not say in which of its frames", USE_PYAV)
                yield frame
        except (StopIteration, RuntimeError, decord.DECORDError):
            return


def _as_frame(frame: Any) -> VideoFrame:
    return VideoFrame.from_ndarray(frame.asnumpy(), "rgb24")
