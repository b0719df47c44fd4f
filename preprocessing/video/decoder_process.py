"""What the decoding process does: a file -> facts about its video, then the frames asked for, as pictures in shared memory.

It is a child process of its own (see child.py), since the libraries that decode may crash, hang or eat memory on a broken
file. `Decoder`, in video.py, is who it talks to.
"""

import gc
import os
import resource
import time
from dataclasses import asdict
from mmap import mmap
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from preprocessing.video.fork_server import receive, receive_handle, send
from preprocessing.video.pyav_reader import Complaints, PyavVideo
from preprocessing.video.video import Account, Reading, UnreadableVideo, shrunk_size

SECONDS_BETWEEN_SIGNS = 0.5


def work(connection: Connection) -> None:
    """The life of the process: it opens one video after the other, and gives the frames that are asked for."""
    complaints, signs = Complaints(), SignsOfLife(connection)
    reading: Reading | None = None
    video: Any = None
    try:
        while True:
            asked = receive(connection)
            if "path" in asked:
                reading = Reading(**asked["reading"])
                _limit_memory(reading.max_memory_mb)
                video = None
                gc.collect()  # the pictures that a video before it has kept, and its decoder's
                video = _opened(asked["path"], reading, complaints, signs)
                send(connection, {"facts": asdict(video.facts), "clean": not complaints.ever_came})
            else:
                account = give_frames(connection, video, **asked)
                send(connection, {"account": asdict(account), "clean": not complaints.ever_came})
    except UnreadableVideo as error:
        send(connection, {"unreadable": [error.reason, error.remedy]})
    except MemoryError:
        reason = f"to decode it takes more than {reading and reading.max_memory_mb} MB of memory"
        send(connection, {"unreadable": [reason, "raise read_video.max_memory_mb, or take it out of the data"]})
    except (EOFError, ConnectionError):
        return  # nobody wants more


def _opened(path: str, reading: Reading, complaints: Complaints, signs: "SignsOfLife") -> Any:
    video = PyavVideo(path, reading, complaints, signs.give)
    if reading.reader == "pyav":
        return video
    from preprocessing.video.decord_reader import DecordVideo  # there are machines that decord cannot be had for

    return DecordVideo(video)


def give_frames(
    connection: Connection, video: Any, indices: list[int] | None, longest_side: int | None, again: bool, slots: int
) -> Account:
    """The frames at the indices, each put into a slot of the shared memory that is free."""
    width, height = shrunk_size(video.facts.width, video.facts.height, longest_side)
    handle = receive_handle(connection)
    pictures = np.frombuffer(mmap(handle, 0), np.uint8).reshape(slots, height, width, 3)
    os.close(handle)
    free, account = list(range(slots)), Account()
    for index, picture in video.frames(indices, longest_side, account, again):
        while not free or connection.poll():
            free.append(receive(connection))
        slot = free.pop()
        pictures[slot] = picture
        send(connection, {"frame": index, "slot": slot})
    while len(free) < slots:
        free.append(receive(connection))
    return account


class SignsOfLife:
    """For the parent, which ends a process that is silent for long."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.last = connection, time.monotonic()

    def give(self) -> None:
        if time.monotonic() - self.last > SECONDS_BETWEEN_SIGNS:
            send(self.connection, {})
            self.last = time.monotonic()


def _limit_memory(megabytes: int) -> None:
    """Of address space, which is what can be limited everywhere; the most that is allowed stays as it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
