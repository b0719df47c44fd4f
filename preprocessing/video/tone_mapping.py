"""High dynamic range (PQ or HLG, with the wide colours of BT.2020) -> pictures as screens without it show them.

White of a usual picture is 203 nits there (ITU-R BT.2408). Brighter light is compressed, and colours outside of BT.709
are clipped.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.video.video import Picture

PQ, HLG = 16, 18  # transfer characteristics in ITU-T H.273
TRANSFERS = (PQ, HLG)
WHITE_NITS, HLG_PEAK_NITS, PQ_PEAK_NITS = 203, 1000, 10_000
KNEE = 0.75  # brighter values, up to any, are compressed into the rest
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
Linear = NDArray[np.float32]  # 1: white of a usual picture


def tone_map(picture: NDArray[np.uint16], transfer: int) -> Picture:
    """Convert a BT.2020 RGB picture of 16 bits."""
    light = _decoding_table(transfer)[picture]
    if transfer == HLG:  # the display's gamma of 1.2
        light *= cv2.transform(light, LUMINANCE[None])[..., None] ** 0.2 * (HLG_PEAK_NITS / WHITE_NITS)
    light = np.clip(cv2.transform(light, TO_BT709), 0, None)
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-6)
    light *= _compressed(brightest) / brightest  # all channels alike, which keeps the hue
    encoded: Picture = (255 * np.clip(light, 0, 1) ** (1 / 2.4) + 0.5).astype(np.uint8)
    return encoded


def _compressed(light: Linear) -> Linear:
    over = np.maximum(light - KNEE, 0) / (1 - KNEE)
    return np.minimum(light, KNEE) + (1 - KNEE) * over / (1 + over)


@cache
def _decoding_table(transfer: int) -> Linear:
    """The light of each of the 65,536 values."""
    signal = np.arange(1 << 16) / ((1 << 16) - 1)
    return (_decode_pq(signal) if transfer == PQ else _decode_hlg(signal)).astype(np.float32)


def _decode_pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084."""
    root = signal ** (32 / 2523)
    light = (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
    return light * (PQ_PEAK_NITS / WHITE_NITS)


def _decode_hlg(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100, light of the scene from 0 to 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
