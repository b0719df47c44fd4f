"""Memory settings and measurements of a process that computes with large arrays."""

import ctypes
import sys
from contextlib import suppress

import psutil

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameter numbers of glibc's mallopt
LARGEST_BYTES = 256 << 20


def keep_memory() -> None:
    """Make glibc reuse freed memory for large arrays instead of returning it to the system.

    Otherwise page faults take a fifth of the time of face detection, and up to half of a forward pass of a transformer.
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, LARGEST_BYTES)
        libc.mallopt(TRIM_THRESHOLD, LARGEST_BYTES)


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    if sys.platform == "win32":
        peak: int = psutil.Process().memory_info().peak_wset
        return peak
    import resource  # not available on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
