"""A replacement for the decoder: it yields two frames of a video that promises five, then fails as the path's name says."""

import os
import signal
import time
from collections.abc import Callable
from mmap import mmap
from multiprocessing.connection import Connection

from explain_deepfakes.preprocessing.video.fork_server import receive, receive_fd, send
from explain_deepfakes.preprocessing.video.pyav_reader import DecoderLog

FACTS = {"width": 4, "height": 2, "frame_rate": 25.0, "frames_promised": 5, "frames_present": 5}


def main(connection: Connection) -> None:
    path = receive(connection)["path"]
    send(connection, {"facts": FACTS, "clean": True})
    receive(connection)
    mmap(receive_fd(connection), 0)
    for index in range(2):
        send(connection, {"frame": index, "slot": index})
    fail: dict[str, Callable[[], None]] = {"sleeps": sleep, "crashes": crash, "is_killed": be_killed, "has_a_bug": raise_error}
    fail[path.rpartition("/")[2]]()


def sleep() -> None:
    time.sleep(600)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def raise_error() -> None:
    DecoderLog()  # from here on, the libraries' messages are captured
    raise ValueError("a bug of ours")


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
