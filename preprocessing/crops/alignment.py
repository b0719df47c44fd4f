"""Aligned crops: a rotation, a scale and a shift move the five landmarks of a face to where a template has them.

Published detectors that were trained on aligned faces need the same alignment. Its template is in units of the crop's side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.crops.crops import Window

Points = NDArray[np.float64]  # (5, 2): x, y of the eyes, the nose and the mouth corners, left in the picture first


@dataclass(frozen=True)
class Template:
    """Where the landmarks are in a crop of side 1 with scale 1, and how the transform is estimated from them."""

    points: Points
    estimate: Callable[[Points, Points], NDArray[np.float64]]  # landmarks, targets -> the transform (2, 3)


def estimate_least_squares(points: Points, targets: Points) -> NDArray[np.float64]:
    """The similarity transform with the smallest mean squared error (Umeyama, 1991)."""
    mean, target_mean = points.mean(0), targets.mean(0)
    centred, target_centred = points - mean, targets - target_mean
    left, singular, right = np.linalg.svd(target_centred.T @ centred / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = (singular * signs).sum() / centred.var(0).sum()
    return np.hstack((scale * rotation, (target_mean - scale * rotation @ mean)[:, None]))


def estimate_median(points: Points, targets: Points) -> NDArray[np.float64]:
    """The similarity transform with the smallest median of squared errors, which ignores a wrong landmark."""
    matrix = cv2.estimateAffinePartial2D(points.astype(np.float32), targets.astype(np.float32), method=cv2.LMEDS)[0]
    return estimate_least_squares(points, targets) if matrix is None else np.asarray(matrix, np.float64)


def _points(side: float, *points: tuple[float, float]) -> Points:
    return np.array(points) / side


TEMPLATES = {
    # of ArcFace for 112 px
    "arcface5": Template(
        _points(112, (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)),
        estimate_least_squares,
    ),
    # of the FFHQ dataset for 512 px
    "ffhq5": Template(
        _points(512, (192.98, 239.95), (318.9, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)),
        estimate_least_squares,
    ),
    # of GenD
    "gend5": Template(_points(1, (0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)), estimate_median),
}


def align_window(landmarks: Sequence[tuple[float, float]], template_name: str, scale: float, size: int | None) -> Window:
    """Return the rotated square of the frame that becomes the aligned crop.

    `scale` is how much larger than the template's the visible region is. Without a size, the crop has about as many pixels as
    the region has in the frame.
    """
    template, points = TEMPLATES[template_name], np.array(landmarks, np.float64)
    side = size or native_side(points, template.points, scale)
    targets = side * (template.points + (scale - 1) / 2) / scale
    (a, b, x), (c, d, y) = template.estimate(points, targets)
    centre = np.linalg.solve([[a, b], [c, d]], [side / 2 - x, side / 2 - y])
    zoom, angle = np.hypot(a, c), -np.degrees(np.arctan2(c, a))
    (x0, y0), (x1, y1) = centre - side / zoom / 2, centre + side / zoom / 2
    return Window(float(x0), float(y0), float(x1), float(y1), float(angle), side)


def native_side(points: Points, template: Points, scale: float) -> int:
    """The side of a crop that neither shrinks nor enlarges: the mean ratio of all distances between landmarks."""
    first, second = np.triu_indices(len(points), k=1)
    ratios = np.linalg.norm(points[first] - points[second], axis=1) / np.linalg.norm(template[first] - template[second], axis=1)
    return max(1, round(float(ratios.mean()) * scale))
