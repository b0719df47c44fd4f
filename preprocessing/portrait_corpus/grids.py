"""Smooth functions of pixel coordinates, and smooth curves over time."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]
STEP_PX = 4  # grid step of smooth fields, interpolated in between; 16 times faster than every pixel


def smooth_field(function: Callable[[Array], Array], top: int, left: int, height: int, width: int) -> Array:
    """Evaluate a function of points (n, 2) at each pixel of a window, as (height, width, 2)."""
    rows, columns = -(-height // STEP_PX) + 2, -(-width // STEP_PX) + 2  # with one extra cell on each side
    x = left + (np.arange(columns, dtype=np.float32) - 0.5) * STEP_PX - 0.5
    y = top + (np.arange(rows, dtype=np.float32) - 0.5) * STEP_PX - 0.5
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    coarse = function(points).astype(np.float32).reshape(rows, columns, 2)
    fine = cv2.resize(coarse, (columns * STEP_PX, rows * STEP_PX), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(fine[STEP_PX : STEP_PX + height, STEP_PX : STEP_PX + width])


def sample_bicubic(picture: Array, coordinates: Array, border: int = cv2.BORDER_REFLECT_101) -> Array:
    """Interpolate the picture at the coordinates (h, w, 2)."""
    return cv2.remap(picture, coordinates, None, cv2.INTER_CUBIC, borderMode=border)


def smooth_curve(rng: Generator, seconds: NDArray, size: float, slow_hz: float = 0.15, fast_hz: float = 1.4) -> Array:
    """A random smooth curve at the given times, mostly within plus and minus `size`: the sum of three sine waves."""
    rates, phases = rng.uniform(slow_hz, fast_hz, 3), rng.uniform(0, 2 * np.pi, 3)
    waves = np.sin(2 * np.pi * rates * seconds[:, None] + phases)
    return (waves @ np.array([0.5, 0.3, 0.2]) * size).astype(np.float32)


def unit_gaussian(points: Array, centre: tuple[float, float], sigma: tuple[float, float]) -> Array:
    x, y = (points[..., 0] - centre[0]) / sigma[0], (points[..., 1] - centre[1]) / sigma[1]
    return np.exp(-0.5 * (x * x + y * y))
