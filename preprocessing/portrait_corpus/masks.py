"""Regions of a face, drawn as masks in the face chart, and their soft edges."""

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.preprocessing.portrait_corpus.grids import Array, sample_bicubic

CHART_PX = 72  # pixels of a drawn mask per chart unit
LEFT, TOP, RIGHT, BOTTOM = -1.5, -1.5, 1.5, 2.3
MIN_ALPHA = 0.04  # smaller values are set to 0, so the mask covers exactly the pixels that can change

# The right half of the inner face from the middle of the forehead to the chin; the left half mirrors it.
OUTLINE = (
    (0.0, -0.5),
    (0.3, -0.56),
    (0.6, -0.53),
    (0.83, -0.36),
    (0.91, 0.0),
    (0.9, 0.4),
    (0.85, 0.75),
    (0.76, 1.05),
    (0.6, 1.33),
    (0.38, 1.54),
    (0.0, 1.62),
)
UPPER_EDGE = 0.34  # between the eyes and the nostrils
NOSE_TO_CHIN = (
    (0.0, 0.18),
    (0.2, 0.3),
    (0.42, 0.62),
    (0.66, 0.95),
    (0.6, 1.25),
    (0.38, 1.46),
    (0.0, 1.54),
)
MOUTH = (0.0, 1.06), (0.66, 0.36)  # centre and half axes
NARROW_MOUTH = (0.0, 1.06), (0.56, 0.26)
EYES = tuple(((side * 0.5, -0.02), (0.36, 0.24)) for side in (-1, 1))
EYES_AND_BROWS = tuple(((side * 0.5, -0.14), (0.44, 0.36)) for side in (-1, 1))
FACE_REGIONS = ("face", "face", "wide face", "narrow face", "lower face", "upper face")
SIDE_REGIONS = ("left side", "right side")


def draw_region(region: str, turn: float, rng: Generator) -> Array:
    """Draw a binary mask of the region in the chart of a face with the given turn, with random variation of its shape."""
    if region in ("mouth", "narrow mouth"):
        return _ellipses((MOUTH if region == "mouth" else NARROW_MOUTH,), rng)
    if region in ("eyes", "eyes and brows"):
        return _ellipses(EYES if region == "eyes" else EYES_AND_BROWS, rng)
    if region == "nose to chin":
        return _polygon(_mirrored(NOSE_TO_CHIN), turn, rng)
    size = {"wide face": 1.08, "narrow face": 0.84}.get(region, 1.0)
    middle = np.array([0, 0.55], np.float32)
    chart = _polygon((_mirrored(OUTLINE) - middle) * size + middle, turn, rng)
    x, y = chart_grid()
    edge = UPPER_EDGE + float(rng.uniform(-0.1, 0.1))
    masks = {"lower face": y > edge, "upper face": y < edge + 0.3, "left side": x < 0.08, "right side": x > -0.08}
    return np.where(masks[region], chart, np.float32(0)) if region in masks else chart


def chart_grid() -> tuple[Array, Array]:
    """Chart coordinates x and y of the pixels of a drawn mask."""
    columns, rows = round((RIGHT - LEFT) * CHART_PX), round((BOTTOM - TOP) * CHART_PX)
    x = LEFT + (np.arange(columns, dtype=np.float32) + 0.5) / CHART_PX
    y = TOP + (np.arange(rows, dtype=np.float32) + 0.5) / CHART_PX
    grid_x, grid_y = np.meshgrid(x, y)
    return grid_x.astype(np.float32), grid_y.astype(np.float32)


def _mirrored(half: tuple[tuple[float, float], ...]) -> Array:
    right = np.array(half, np.float32)
    return np.concatenate([right, right[-2:0:-1] * np.array([-1, 1], np.float32)])


def _polygon(points: Array, turn: float, rng: Generator) -> Array:
    """Draw a polygon with jittered corners; the side turned away from the camera is narrower."""
    scales = 1 + turn * np.where(points[:, 0] > 0, -1.1, 0.5)
    jitter = rng.normal(0, 0.02, points.shape)
    return _filled([(points * np.stack([scales, np.ones_like(scales)], 1) + jitter).astype(np.float32)])


def _ellipses(ellipses: tuple[tuple[tuple[float, float], tuple[float, float]], ...], rng: Generator) -> Array:
    angles = np.linspace(0, 2 * np.pi, 33)[:-1]
    circle, size = np.stack([np.cos(angles), np.sin(angles)], 1), rng.uniform(0.9, 1.12, 2)
    return _filled([np.array(centre) + circle * np.array(axes) * size for centre, axes in ellipses])


def _filled(polygons: list[Array]) -> Array:
    chart = np.zeros_like(chart_grid()[0])
    corners = [((points - (LEFT, TOP)) * CHART_PX - 0.5).round().astype(np.int32) for points in polygons]
    for points in corners:
        cv2.fillPoly(chart, [points], 1.0)
    return chart


def soften(region: Array, width: float) -> Array:
    """Fade the region out towards its edge over `width` chart units, and only inside it."""
    depth = cv2.distanceTransform((region > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / CHART_PX
    share = np.clip(depth / max(width, 1.5 / CHART_PX), 0, 1).astype(np.float32)
    return share * share * (3 - 2 * share)


def deform(region: Array, rng: Generator, strength: float) -> Array:
    """Deform the region elastically with a smooth random displacement."""
    height, width = region.shape
    displacements = rng.normal(0, strength * CHART_PX, (5, 4, 2)).astype(np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    coordinates = np.stack([x, y], -1) + cv2.resize(displacements, (width, height), interpolation=cv2.INTER_CUBIC)
    return (sample_bicubic(region, coordinates, cv2.BORDER_CONSTANT) > 0.5).astype(np.float32)


def sample_chart(chart: Array, points: Array) -> Array:
    """Interpolate a drawn chart at face coordinates (h, w, 2), with its edges replicated."""
    coordinates = (points - np.array([LEFT, TOP], np.float32)) * np.float32(CHART_PX) - np.float32(0.5)
    return cv2.remap(chart, coordinates, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
