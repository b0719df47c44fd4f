"""Reading of videos: what a file really contains, and its frames, however damaged the file is and however its decoder fails.

Frames are RGB pictures: uint8, (height, width, 3), upright. The index of a frame is its position among the frames that the
file contains, in display order. No header is trusted: a truncated file declares frames that it does not contain.

Each open video is decoded in a separate process (decoder_process.py) with limits for time, memory, pixels and frames. A decoder
that hangs, crashes or exceeds a limit fails this video only.
"""

import math
import os
import signal
import stat
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.pipeline.buckets import is_in_bucket, local_copy
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.preprocessing.video.fork_server import (
    ForkedProcess,
    ProcessEnded,
    open_memory_file,
    start_fork_server,
)
from explain_deepfakes.preprocessing.video.frame_folders import is_frame
from explain_deepfakes.preprocessing.video.params import ReadingParams

Picture = NDArray[np.uint8]

DECODER = "explain_deepfakes.preprocessing.video.decoder_process"
MAX_VIDEOS_PER_DECODER = 200  # then its process is replaced, which frees its memory
MAX_BUFFERED_BYTES, MAX_BUFFERED_FRAMES = 48 << 20, 16  # decoded ahead of the consumer
REMOVE_FILE = "leave this file out"
REPLACE_FILE = "download or export the file again"


class UnreadableVideo(Exception):
    """A file that cannot be read, or not to its end: the reason in words, and what to try."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # so that it can be pickled
        return type(self), (self.reason, self.remedy)


@dataclass(frozen=True)
class VideoFacts:
    """What is known about a video before its frames are read."""

    width: int  # of the upright frames
    height: int
    frame_rate: float | None
    frames_promised: int | None  # according to the header; some containers do not state it
    frames_present: int  # counted in the file; if it is damaged, fewer may decode
    container: str = ""
    codec: str = ""
    other_streams: int = 0  # further video streams, which are not read: the one that players show is


@dataclass
class DecodingStats:
    """What happened to the frames of one request; complete after its last frame."""

    frames_decoded: int = 0  # including frames that others depend on
    frames_damaged: int = 0  # as far as the decoder notices: many bit errors decode without a message
    frames_missing: int = 0  # of the requested frames
    ended_early: str | None = None  # the reason


class DecoderMessage(TypedDict, total=False):
    """A message from the decoder process; an empty one is a heartbeat."""

    facts: dict[str, Any]  # fields of VideoFacts: the video is open
    frame: int  # index of a frame that was written to the shared memory
    slot: int  # and where
    stats: dict[str, Any]  # fields of DecodingStats: the request is complete
    clean: bool  # whether the decoder has reported no error so far
    unreadable: list[str]  # reason and remedy


class Deadline:
    """Ends the reading of a video: after some seconds, or when another thread sets `is_cancelled`."""

    def __init__(self, seconds: float, is_cancelled: threading.Event) -> None:
        self.seconds, self.is_cancelled = seconds, is_cancelled
        self.end = time.monotonic() + seconds

    def has_passed(self) -> bool:
        return self.is_cancelled.is_set() or time.monotonic() > self.end


class OpenVideo:
    """An open video, see `open_video`."""

    def __init__(self, path: Path, reading: ReadingParams, deadline: Deadline | None = None) -> None:
        self.path, self.reading, self.deadline = path, reading, deadline
        self.stats = DecodingStats()  # of the last request
        self.process: ForkedProcess
        self.facts = self._open()

    def frames(
        self, indices: Collection[int] | None = None, longest_side: int | None = None, keep_decoded: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        """Yield the frames at these indices (None: all) with their index, in order; frames that cannot be decoded are left out.

        Their size is `shrunk_size`. A few frames are decoded ahead in the background, and only what they depend on. With
        `keep_decoded`, decoded frames are kept (within a memory limit) for later requests at another size.
        """
        self.stats = DecodingStats()
        if self.process.has_ended:
            self._open()
        requested = None if indices is None else sorted(map(int, set(indices)))
        width, height = shrunk_size(self.facts.width, self.facts.height, longest_side)
        slots, fd = _share_memory((height, width, 3))
        request = {"indices": requested, "longest_side": longest_side, "keep_decoded": keep_decoded, "slots": len(slots)}
        self.is_idle = False
        try:
            try:
                self._send(request, fd)
            finally:
                os.close(fd)
            while "stats" not in (message := self._receive()):
                self.stats.frames_decoded += 1
                picture = slots[message["slot"]].copy()
                self.process.send_if_alive(message["slot"])
                yield message["frame"], picture
            self.stats, self.is_idle = DecodingStats(**message["stats"]), message["clean"]
        finally:
            if not self.is_idle:  # the consumer has stopped early, but the decoder would go on
                self.process.kill()

    def close(self) -> None:
        if self.is_idle and self.process.job_count < MAX_VIDEOS_PER_DECODER:
            _idle_decoders.append(self.process)
        else:
            self.process.kill()

    def _open(self) -> VideoFacts:
        self.is_idle = False
        try:
            self.process = _take_idle_decoder() or ForkedProcess(DECODER)
        except ProcessEnded as error:
            raise self._unreadable(error) from error
        self.process.job_count += 1
        self._send({"path": str(self.path.absolute()), "reading": asdict(self.reading)})
        message = self._receive()
        self.is_idle = message["clean"]
        return VideoFacts(**message["facts"])

    def _send(self, message: object, fd: int | None = None) -> None:
        try:
            self.process.send(message, fd)
        except ProcessEnded as error:
            raise self._unreadable(error) from error

    def _receive(self) -> DecoderMessage:
        """Return the decoder's next message that is not a heartbeat."""
        message: DecoderMessage = {}
        while not message:
            if self.deadline and self.deadline.has_passed():
                self.process.kill()
                raise UnreadableVideo(f"reading it takes more than {self.deadline.seconds:g} seconds", REMOVE_FILE)
            try:
                message = self.process.receive(self.reading.max_seconds_stuck)
            except ProcessEnded as error:
                raise self._unreadable(error) from error
        if "unreadable" in message:
            self.process.kill()
            raise UnreadableVideo(*message["unreadable"])
        return message

    def _unreadable(self, error: ProcessEnded) -> UnreadableVideo:
        if error.stuck:
            reason = f"the decoder returned nothing for {self.reading.max_seconds_stuck:g} seconds"
            remedy = f"raise read_video.max_seconds_stuck, or {REPLACE_FILE}"
        elif error.signal_number:
            reason, remedy = f"the decoder was killed by {signal.Signals(error.signal_number).name}", REPLACE_FILE
        else:
            reason, remedy = "the decoder failed, see the error above", REPLACE_FILE
        self.stats.ended_early = reason
        return UnreadableVideo(reason, remedy)


def start_decoder() -> None:
    """Start importing the decoders in their process, so that the first video opens sooner."""
    start_fork_server(DECODER)


@contextmanager
def open_video(path: Path, reading: ReadingParams, deadline: Deadline | None = None) -> Iterator[OpenVideo]:
    """Open a video. Raises UnreadableVideo, and so does the iteration over its frames."""
    if reading.reader == "decord" and not find_spec("decord"):
        raise UserError(
            "read_video.reader is 'decord', but decord is not installed (it is not available on every platform); use 'pyav'"
        )
    _require_video(path)
    with local_copy(path) as file, closing(OpenVideo(file, reading, deadline)) as video:
        yield video


def probe_video(path: Path, reading: ReadingParams, deadline: Deadline | None = None) -> VideoFacts:
    """Return the facts of a video. Its frames are counted, for which some codecs need to be decoded."""
    with open_video(path, reading, deadline) as video:
        return video.facts


def read_frames(
    path: Path, indices: Collection[int] | None, reading: ReadingParams, longest_side: int | None = None
) -> Iterator[tuple[int, Picture]]:
    """Open a video and yield its frames like `OpenVideo.frames`."""
    with open_video(path, reading) as video:
        yield from video.frames(indices, longest_side)


_idle_decoders: list[ForkedProcess] = []  # processes whose last video decoded without an error


def _take_idle_decoder() -> ForkedProcess | None:
    while _idle_decoders:
        process = _idle_decoders.pop()
        if process.is_usable():
            return process
        process.kill()
    return None


def shrunk_size(width: int, height: int, longest_side: int | None) -> tuple[int, int]:
    """The size with the longer side limited to `longest_side`. Each side is scaled, rounded by Python's `round`, at least 1."""
    scale = min(1.0, longest_side / max(width, height)) if longest_side else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def _share_memory(shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], int]:
    """Allocate shared memory for a few pictures; return it as an array, and its file descriptor for another process."""
    size = math.prod(shape)
    count = max(2, min(MAX_BUFFERED_FRAMES, MAX_BUFFERED_BYTES // size))
    fd = open_memory_file()
    os.ftruncate(fd, count * size)
    return np.frombuffer(mmap(fd, count * size), np.uint8).reshape(count, *shape), fd


def _require_video(path: Path) -> None:
    """Raise unless the path is a file or a folder of pictures."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = "it is a broken symbolic link" if path.is_symlink() else (error.strerror or "it cannot be reached")
        raise UnreadableVideo(f"there is no such file ({reason})", "restore it, or run index_videos again") from error
    if stat.S_ISDIR(mode):
        if is_in_bucket(path):
            raise UnreadableVideo("it is a folder in a bucket", "copy it to a disk")
        if not any(map(is_frame, path.iterdir())):
            raise UnreadableVideo("it is a folder without pictures", REMOVE_FILE)
    elif not stat.S_ISREG(mode):
        raise UnreadableVideo("it is not a regular file", REMOVE_FILE)
