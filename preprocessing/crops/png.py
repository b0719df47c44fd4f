"""Encode pictures as PNG files, in a third of the time that OpenCV takes, and smaller.

Each row is stored as its difference from the row above, which suits frames of compressed video, and compressed by libdeflate,
whose output is the same on every machine.
"""

import struct
import zlib

import deflate
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ROW_ABOVE = 2  # number of the filter in PNG
COLOUR_TYPES = {2: 0, 3: 2}  # array dimensions -> colour type in PNG: grey, RGB
# A crop of 500 px: 1: 3 ms, 203 kB; 2: 4 ms, 182 kB; 3: 5 ms, 180 kB. OpenCV's default: 8 ms, 282 kB.
LEVEL = 1


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a grey (height, width) or RGB (height, width, 3) picture."""
    height, width = picture.shape[:2]
    rows = picture.reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), ROW_ABOVE, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[picture.ndim], 0, 0, 0)
    content = deflate.zlib_compress(filtered, LEVEL)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes | bytearray) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
