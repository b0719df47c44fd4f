"""Reading video: how many frames really decode, and some of them as pictures, whatever the reader.

Nothing here trusts a header: a truncated file promises frames that it cannot give. Memory stays flat for a video of
any length. Pictures are RGB, uint8, (height, width, 3), upright.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.errors import UserError

Picture = NDArray[np.uint8]


class UnreadableVideo(Exception):
    """No frame can be had from a file: the reason in words, and what to try."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # so that it comes back whole from another process
        return type(self), (self.reason, self.remedy)


@dataclass(frozen=True)
class VideoFacts:
    width: int
    height: int
    frame_rate: float | None
    frames_promised: int | None  # by the header, which some containers do without
    frames_decoded: int


@dataclass(frozen=True)
class OpenVideo:
    frame_rate: float | None
    frames_promised: int | None
    frames: Iterator[Callable[[], Picture]]  # in order; the call makes the picture, for those that are wanted


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """The middles of `wanted` equal parts of `count` frames; all of them if there are no more."""
    if count <= wanted:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def survey(path: Path, reader: str = "pyav") -> VideoFacts:
    """Decodes the whole video once, and keeps nothing of it."""
    with _opened(path, reader) as video:
        first = next(video.frames, None)
        if first is None:
            raise UnreadableVideo("no frame of it decodes", "fetch the file again, or take it out of the data")
        height, width = first().shape[:2]
        decoded = 1 + sum(1 for _ in video.frames)
    return VideoFacts(width, height, video.frame_rate, video.frames_promised, decoded)


def read_frames(path: Path, indices: Collection[int] | None = None, reader: str = "pyav") -> Iterator[tuple[int, Picture]]:
    """The frames at these indices (None: all) with their index, in order; those that do not decode are left out."""
    wanted = None if indices is None else frozenset(indices)
    last = None if wanted is None else max(wanted, default=-1)
    with _opened(path, reader) as video:
        for index, picture in enumerate(video.frames):
            if last is not None and index > last:
                return
            if wanted is None or index in wanted:
                yield index, picture()


def _opened(path: Path, reader: str) -> AbstractContextManager[OpenVideo]:
    if not path.is_file():
        raise UnreadableVideo("there is no such file", "put it back, or run index_videos again")
    return READERS[reader](path)


@contextmanager
def _open_with_pyav(path: Path) -> Iterator[OpenVideo]:
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except av.FFmpegError as error:
        raise _not_a_video(error.strerror) from error
    with container:
        if not container.streams.video:
            raise UnreadableVideo("it holds no video", "take it out of the data")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # videos go side by side, one a process
        rate = float(stream.average_rate) if stream.average_rate else None
        yield OpenVideo(rate, stream.frames or None, _decoded_by_pyav(container, stream))


def _decoded_by_pyav(container: Any, stream: Any) -> Iterator[Callable[[], Picture]]:
    packets, converter = container.demux(stream), VideoReformatter()
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            return
        except av.InvalidDataError:
            continue  # a damaged packet costs its own frames; a damaged container ends the packets
        except av.FFmpegError:
            return
        for frame in frames:
            yield partial(_upright, frame, converter)


def _upright(frame: Any, converter: VideoReformatter) -> Picture:
    picture = np.asarray(converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


@contextmanager
def _open_with_decord(path: Path) -> Iterator[OpenVideo]:
    try:
        import decord  # here, since there are machines that it cannot be had for
    except ImportError as error:
        raise UserError("reader is 'decord', which is not installed; it is not made for every machine: use 'pyav'") from error
    try:
        video = decord.VideoReader(str(path), num_threads=1)
        rate = float(video.get_avg_fps())
    except (RuntimeError, decord.DECORDError) as error:
        raise _not_a_video(str(error).splitlines()[0]) from error
    yield OpenVideo(rate or None, len(video), _decoded_by_decord(video, decord.DECORDError))


def _decoded_by_decord(video: Any, decord_error: type[Exception]) -> Iterator[Callable[[], Picture]]:
    while True:
        try:
            frame = video.next()
        except (StopIteration, decord_error):
            return
        if frame.shape[2] != 3:  # what decord 0.6 makes of a rotated video: empty pictures with four channels
            raise UnreadableVideo("decord cannot turn this video upright", "set reader to pyav")
        yield frame.asnumpy


def _not_a_video(cause: str) -> UnreadableVideo:
    return UnreadableVideo(f"it cannot be opened as a video ({cause})", "fetch the file again, or take it out of the data")


READERS: dict[str, Callable[[Path], AbstractContextManager[OpenVideo]]] = {
    "pyav": _open_with_pyav,
    "decord": _open_with_decord,
}
