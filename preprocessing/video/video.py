"""Reading video: what a file really holds, and its frames as pictures, whatever the file and whatever becomes of its decoder.

Pictures are RGB, uint8, (height, width, 3), upright. A frame's index is its place among the frames that are in the file,
in the order in which they are shown. Nothing here trusts a header: a truncated file promises frames that it does not hold.

Decoding runs in a process of its own for each video opened (decoding.py), with limits for silence, memory, pixels and
frames. One that hangs, crashes or takes too much is the end of that video, and of nothing else.
"""

import math
import os
import signal
import stat
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.buckets import local_copy
from pipeline.errors import UserError
from pipeline.params import setting
from preprocessing.video.fork_server import ForkedProcess, ProcessEnded, open_memory

Picture = NDArray[np.uint8]

READERS = ("pyav", "decord")
DECODER = "preprocessing.video.decoder_process"
VIDEOS_A_DECODER = 200  # after which its memory is given back
MAX_BYTES_WAITING, MAX_FRAMES_WAITING = 48 << 20, 16  # decoded ahead of whoever takes the pictures
FETCH_AGAIN = "fetch the file again, or take it out of the data"


class UnreadableVideo(Exception):
    """A file that cannot be read, or not further: the reason in words, and what to try."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # so that it comes back whole from another process
        return type(self), (self.reason, self.remedy)


@dataclass(frozen=True)
class Reading:
    """How videos are read, and what a decoder may cost before it is ended; the section `read_video`."""

    reader: str = setting("decodes the videos", choices=READERS)
    decoder_threads: int = setting("of each decoder; the pixels do not depend on it", low=1)
    max_seconds_stuck: float = setting("a decoder that gives nothing for so long is ended", low=0.1)
    max_memory_mb: int = setting("of the process that decodes", low=500)
    max_megapixels: float = setting("of a frame", low=0.01)
    max_frames: int = setting("of a video; more are not read, and that is said", low=1)

    def that_matter(self) -> dict[str, Any]:
        """What the pictures depend on."""
        return {"reader": self.reader, "max_frames": self.max_frames}


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video before its frames are asked for."""

    width: int  # upright, as the pictures are
    height: int
    frame_rate: float | None
    frames_promised: int | None  # by the header, which some containers do without
    frames_present: int  # counted, in the file; of a damaged one, fewer may decode
    container: str = ""
    codec: str = ""


@dataclass
class Account:
    """What became of the frames that were asked for; complete once the last of them came."""

    frames_decoded: int = 0  # also those that others needed to be decoded
    frames_damaged: int = 0  # as far as the decoder notices: many a wrong bit decodes without a word
    frames_missing: int = 0  # of those asked for
    ended_early: str | None = None  # why


class OpenVideo:
    """A video that is open, as `open_video` gives it."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path, self.reading = path, reading
        self.account = Account()  # of the last reading
        self.child: ForkedProcess
        self.facts = self._begin()

    def frames(
        self, indices: Collection[int] | None = None, longest_side: int | None = None, again: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        """The frames at these indices (None: all) with their index, in order; those that cannot be had are left out.

        Their size is `shrunk_size`. Only what they need is decoded, in the background, a few frames ahead. With `again`, they
        are kept, within bounds, so that they are not decoded once more when they are asked for in another size.
        """
        self.account = Account()
        if self.child.has_ended:
            self._begin()
        asked = None if indices is None else sorted(map(int, set(indices)))
        width, height = shrunk_size(self.facts.width, self.facts.height, longest_side)
        slots, handle = _share_memory((height, width, 3))
        self.is_idle = False
        try:
            try:
                self._send({"indices": asked, "longest_side": longest_side, "again": again, "slots": len(slots)}, handle)
            finally:
                os.close(handle)
            while "account" not in (told := self._receive()):
                self.account.frames_decoded += 1
                picture = slots[told["slot"]].copy()
                self.child.give_back(told["slot"])
                yield told["frame"], picture
            self.account, self.is_idle = Account(**told["account"]), told["clean"]
        finally:
            if not self.is_idle:  # given up, it would go on giving
                self.child.end()

    def close(self) -> None:
        if self.is_idle and self.child.jobs < VIDEOS_A_DECODER:
            _idle.append(self.child)
        else:
            self.child.end()

    def _begin(self) -> VideoFacts:
        self.is_idle = False
        try:
            self.child = _idle_child() or ForkedProcess(DECODER)
        except ProcessEnded as error:
            raise self._unreadable(error) from error
        self.child.jobs += 1
        self._send({"path": str(self.path.absolute()), "reading": asdict(self.reading)})
        told = self._receive()
        self.is_idle = told["clean"]
        return VideoFacts(**told["facts"])

    def _send(self, message: Any, handle: int | None = None) -> None:
        try:
            self.child.send(message, handle)
        except ProcessEnded as error:
            raise self._unreadable(error) from error

    def _receive(self) -> dict[str, Any]:
        """What the decoder says, its signs of life aside."""
        told: dict[str, Any] = {}
        while not told:
            try:
                told = self.child.receive(self.reading.max_seconds_stuck)
            except ProcessEnded as error:
                raise self._unreadable(error) from error
        if "unreadable" in told:
            self.child.end()
            raise UnreadableVideo(*told["unreadable"])
        return told

    def _unreadable(self, error: ProcessEnded) -> UnreadableVideo:
        if error.stuck:
            reason = f"its decoder gave nothing for {self.reading.max_seconds_stuck:g} seconds"
            remedy = f"raise read_video.max_seconds_stuck, or {FETCH_AGAIN}"
        elif error.signal_number:
            reason, remedy = f"its decoder was ended by {signal.Signals(error.signal_number).name}", FETCH_AGAIN
        else:
            reason, remedy = "its decoder failed, as told above", FETCH_AGAIN
        self.account.ended_early = reason
        return UnreadableVideo(reason, remedy)


@contextmanager
def open_video(path: Path, reading: Reading) -> Iterator[OpenVideo]:
    """Raises UnreadableVideo, as its frames do where they end for a reason of that kind."""
    if reading.reader == "decord" and not find_spec("decord"):
        raise UserError("read_video.reader is 'decord', which is not installed; it is not made for every machine: use 'pyav'")
    _refuse_what_is_no_file(path)
    with local_copy(path) as file, closing(OpenVideo(file, reading)) as video:
        yield video


def scan(path: Path, reading: Reading) -> VideoFacts:
    """What the video is, its frames counted."""
    with open_video(path, reading) as video:
        return video.facts


def read_frames(
    path: Path, indices: Collection[int] | None, reading: Reading, longest_side: int | None = None
) -> Iterator[tuple[int, Picture]]:
    """As `OpenVideo.frames`, for who wants nothing else of the video."""
    with open_video(path, reading) as video:
        yield from video.frames(indices, longest_side)


_idle: list[ForkedProcess] = []  # decoders that are done with a video in which nothing was amiss


def _idle_child() -> ForkedProcess | None:
    while _idle:
        child = _idle.pop()
        if child.is_usable():
            return child
        child.end()
    return None


def shrunk_size(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    """The longer side at most this: each side times the scale, rounded as Python does, and at least 1."""
    scale = min(1.0, longest_side / max(width, height)) if longest_side else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def _share_memory(shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], int]:
    """Room for a few pictures, and the handle by which another process finds it."""
    size = math.prod(shape)
    count = max(2, min(MAX_FRAMES_WAITING, MAX_BYTES_WAITING // size))
    handle = open_memory()
    os.ftruncate(handle, count * size)
    return np.frombuffer(mmap(handle, count * size), np.uint8).reshape(count, *shape), handle


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = "it is a link that leads nowhere" if path.is_symlink() else (error.strerror or "it cannot be reached")
        raise UnreadableVideo(f"there is no such file ({reason})", "put it back, or run index_videos again") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no file that lies on a disk"
        raise UnreadableVideo(f"it is {what}", "take it out of the data")
