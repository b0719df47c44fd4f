"""How a process that computes with large arrays handles its memory."""

import ctypes
import sys
from contextlib import suppress

import psutil

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's numbers of the settings
LARGEST_BYTES = 256 << 20


def keep_memory() -> None:
    """Else glibc gives every larger array back to the system, and takes it anew, page by page.

    That is a fifth of the time of a search for faces, and up to half of a pass through a transformer.
    """
    with suppress(OSError, AttributeError):  # where the C library is another one
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, LARGEST_BYTES)
        libc.mallopt(TRIM_THRESHOLD, LARGEST_BYTES)


def peak_memory() -> int:
    """The most bytes that this process has held so far."""
    if sys.platform == "win32":
        peak: int = psutil.Process().memory_info().peak_wset
        return peak
    import resource  # which Windows has not

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
