"""How a process that computes with large arrays handles its memory."""

import ctypes
from contextlib import suppress

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
