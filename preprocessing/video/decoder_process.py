"""The decoder process: opens video files, and writes requested frames to shared memory.

It is a separate process (see fork_server.py), since decoding libraries may crash, hang or use too much memory on a damaged
file. It communicates with `OpenVideo` in video.py.
"""

import gc
import os
import resource
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict
from mmap import mmap
from multiprocessing.connection import Connection
from typing import Protocol

import numpy as np

from explain_deepfakes.preprocessing.video.fork_server import receive, receive_fd, send
from explain_deepfakes.preprocessing.video.frame_folder_reader import FrameFolder
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.pyav_reader import DecoderLog, PyavVideo
from explain_deepfakes.preprocessing.video.sandbox import confine
from explain_deepfakes.preprocessing.video.video import (
    REMOVE_FILE,
    DecodingStats,
    Picture,
    UnreadableVideo,
    VideoFacts,
    shrunk_size,
)

HEARTBEAT_SECONDS = 0.5


class VideoReader(Protocol):
    """A video opened by one of the decoding libraries."""

    facts: VideoFacts

    def frames(
        self, indices: Collection[int] | None, longest_side: int | None, stats: DecodingStats, keep_decoded: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        """Yield the frames at these indices (None: all) with their index, in order, and update `stats`."""


def main(connection: Connection) -> None:
    """Open one video after the other, and send the requested frames, until the connection is closed."""
    confine()
    log, heartbeat = DecoderLog(), Heartbeat(connection)
    reading: ReadingParams | None = None
    video: VideoReader | None = None
    try:
        while True:
            request = receive(connection)
            if "path" in request:
                reading = ReadingParams(**request["reading"])
                _limit_memory(reading.max_memory_mb)
                video = None
                gc.collect()  # frees the kept frames and the decoder of the previous video
                video = _open(request["path"], reading, log, heartbeat)
                send(connection, {"facts": asdict(video.facts), "clean": not log.had_errors})
            else:
                assert video is not None, "frames requested before a video"
                stats = send_frames(connection, video, **request)
                send(connection, {"stats": asdict(stats), "clean": not log.had_errors})
    except UnreadableVideo as error:
        send(connection, {"unreadable": [error.reason, error.remedy]})
    except MemoryError:
        reason = f"decoding it takes more than {reading and reading.max_memory_mb} MB of memory"
        send(connection, {"unreadable": [reason, f"raise read_video.max_memory_mb, or {REMOVE_FILE}"]})
    except (EOFError, ConnectionError):
        return  # the parent has closed the connection


def _open(path: str, reading: ReadingParams, log: DecoderLog, heartbeat: "Heartbeat") -> VideoReader:
    if os.path.isdir(path):
        return FrameFolder(path, reading, log, heartbeat.send)
    video = PyavVideo(path, reading, log, heartbeat.send)
    if reading.reader == "pyav":
        return video
    from explain_deepfakes.preprocessing.video.decord_reader import DecordVideo  # decord is not available on every platform

    return DecordVideo(video)


def send_frames(
    connection: Connection,
    video: VideoReader,
    indices: list[int] | None,
    longest_side: int | None,
    keep_decoded: bool,
    slots: int,
) -> DecodingStats:
    """Write each requested frame to a free slot of the shared memory, and send its index and slot."""
    width, height = shrunk_size(video.facts.width, video.facts.height, longest_side)
    fd = receive_fd(connection)
    pictures = np.frombuffer(mmap(fd, 0), np.uint8).reshape(slots, height, width, 3)
    os.close(fd)
    free_slots, stats = list(range(slots)), DecodingStats()
    for index, picture in video.frames(indices, longest_side, stats, keep_decoded):
        while not free_slots or connection.poll():
            free_slots.append(receive(connection))
        slot = free_slots.pop()
        pictures[slot] = picture
        send(connection, {"frame": index, "slot": slot})
    while len(free_slots) < slots:
        free_slots.append(receive(connection))
    return stats


class Heartbeat:
    """Shows the parent, which kills a process that sends nothing for a long time, that decoding continues."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.last_sent = connection, time.monotonic()

    def send(self) -> None:
        if time.monotonic() - self.last_sent > HEARTBEAT_SECONDS:
            send(self.connection, {})
            self.last_sent = time.monotonic()


def _limit_memory(megabytes: int) -> None:
    """Limit the address space, which works on every system; the hard limit stays as it is."""
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
