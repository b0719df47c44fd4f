"""Five manipulations of drawn faces, modelled on the FaceForensics++ methods of the same names.

A manipulation gets the recorded, noisy frame and a clean rendering of the new face, and blends the rendering over one
region of the face. The region differs from video to video, so a heatmap that always marks the middle of the face is
not correct. The artifacts are those of real deepfakes: texture that passed a bottleneck, noise that differs from the
camera's, seams, slightly wrong light or colour, and slightly misplaced features.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.preprocessing.demo_corpus.face_charts import Array, smoothstep
from explain_deepfakes.preprocessing.demo_corpus.heads import HeadView, view_head
from explain_deepfakes.preprocessing.demo_corpus.people import DrawnPerson, Expression
from explain_deepfakes.preprocessing.demo_corpus.portraits import DrawnFrame, redraw_head
from explain_deepfakes.preprocessing.demo_corpus.scenery import CameraModel, camera_falloff, sensor_noise

MIN_ALPHA = 0.1  # smaller values are set to 0, so the mask covers exactly the pixels that can change
MIN_NOISE_PX = 240  # least side of the square of noise that the noise of each frame is cropped from
# Noise of the rendered patch: its share of the camera's noise, and the sigma of its blur in pixels.
NOISE_SHARE_AND_BLUR = {
    "Deepfakes": (0.5, 0.9),
    "Face2Face": (0.5, 0.8),
    "FaceShifter": (0.1, 0.0),
    "FaceSwap": (0.45, 0.7),
    "NeuralTextures": (0.45, 0.6),
}


@dataclass(frozen=True)
class TargetFrame:
    """One recorded frame of the target, and the expression of the source person in the same frame."""

    drawn: DrawnFrame
    recorded: np.ndarray  # (h, w, 3) uint8
    swapped_person: DrawnPerson  # the target with the source's face
    source_expression: Expression


class FaceManipulator:
    """Makes the frames of one fake video. The method, the region and the other random choices apply to all of them."""

    def __init__(self, method: str, region: str, camera: CameraModel, height: int, strength: float, rng: Generator) -> None:
        self.method, self.region, self.strength, self.rng = method, region, strength, rng
        self.camera = camera
        share, blur = NOISE_SHARE_AND_BLUR[method]
        side = max(height, MIN_NOISE_PX)  # no face is higher than the picture
        self.noise = sensor_noise(rng, (side, side), share * camera.noise, blur)
        self.tint = rng.uniform(-1, 1, 3).astype(np.float32)

    def apply(self, target: TargetFrame) -> tuple[np.ndarray, np.ndarray]:
        """The manipulated frame (uint8) and the mask of changed pixels (bool), both of the size of the frame."""
        fake, mask = target.recorded.copy(), np.zeros(target.recorded.shape[:2], bool)
        if target.drawn.view.coverage.size == 0:  # the head is outside the picture
            return fake, mask
        alpha = ALPHA_MASKS[self.method](self, target.drawn.view) * target.drawn.view.coverage
        alpha[alpha < MIN_ALPHA] = 0
        box = bounding_box(alpha > 0)
        if box is None:
            return fake, mask
        view, alpha = target.drawn.view.crop(*box), alpha[box]
        window = view.rows, view.columns
        under = target.recorded[window].astype(np.float32)
        patch = RENDERERS[self.method](self, target, view, under, alpha) + self.crop_noise(alpha.shape)
        fake[window] = np.clip(under + (patch - under) * alpha[..., None] + 0.5, 0, 255).astype(np.uint8)
        mask[window] = alpha > 0
        return fake, mask

    def crop_noise(self, size: tuple[int, ...]) -> Array:
        """A random crop of the noise, different in every frame."""
        offset_counts = [total - length + 1 for total, length in zip(self.noise.shape[:2], size, strict=True)]
        top, left = (int(self.rng.integers(0, count)) for count in offset_counts)
        return self.noise[top : top + size[0], left : left + size[1]]

    def render(self, target: TargetFrame, person: DrawnPerson, expression: Expression, view: HeadView) -> Array:
        clean = redraw_head(target.drawn, person, expression, view)
        return clean * camera_falloff(self.camera, target.recorded.shape[:2])[view.rows, view.columns]

    def render_swapped(self, target: TargetFrame, view: HeadView) -> Array:
        """Render the source's face in the target's pose, expression and light."""
        return self.render(target, target.swapped_person, target.drawn.expression, view)


def bounding_box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns of the pixels that are set, None if there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def swap_face(target: DrawnPerson, source: DrawnPerson) -> DrawnPerson:
    """The target with the source's face; head shape, hair and glasses stay the target's."""
    return replace(target, face=source.face)


def region_depth(region: str, x: Array, y: Array) -> Array:
    """Signed depth of (x, y) inside a region of the face, in face units; negative outside. Left is the picture's left."""
    oval = (1 - np.hypot(x / 0.52, (y - 0.27) / 0.62)) * 0.5
    across = x if region.startswith("right") else -x
    return {
        "face": lambda: oval,
        "left half": lambda: np.minimum(oval, across),
        "right half": lambda: np.minimum(oval, across),
        "left eye": lambda: (1 - np.hypot((across - 0.3) / 0.25, (y + 0.04) / 0.22)) * 0.22,
        "right eye": lambda: (1 - np.hypot((across - 0.3) / 0.25, (y + 0.04) / 0.22)) * 0.22,
        "left cheek": lambda: np.minimum((1 - np.hypot((across - 0.28) / 0.26, (y - 0.42) / 0.36)) * 0.28, across),
        "right cheek": lambda: np.minimum((1 - np.hypot((across - 0.28) / 0.26, (y - 0.42) / 0.36)) * 0.28, across),
        "eyes": lambda: (1 - np.hypot(x / 0.54, (y + 0.05) / 0.21)) * 0.25,
        "upper half": lambda: np.minimum(oval, 0.24 - y),
        "lower half": lambda: np.minimum(oval, y - 0.36),
        "mouth": lambda: (1 - np.hypot(x / 0.36, (y - 0.61) / 0.2)) * 0.25,
    }[region]()


REGIONS = {
    "Deepfakes": ("face", "left half", "right half", "upper half", "left half", "right half", "lower half", "eyes"),
    "Face2Face": ("mouth", "left half", "lower half", "right half", "eyes", "mouth", "upper half"),
    "FaceShifter": ("left half", "upper half", "right half", "lower half", "left eye", "eyes", "right eye", "mouth"),
    "FaceSwap": ("left half", "right eye", "lower half", "right half", "left eye", "upper half"),
    "NeuralTextures": ("mouth", "left cheek", "right eye", "lower half", "right cheek", "left eye"),
}
METHODS = tuple(REGIONS)


def region_for(method: str, index: int) -> str:
    """Cycle through the regions, so that left and right are changed equally often."""
    return REGIONS[method][index % len(REGIONS[method])]


def soft_edge(width: float) -> Callable[[FaceManipulator, HeadView], Array]:
    """An alpha mask that rises from 0 to 1 within `width` face units of the edge of the region."""
    return lambda manipulator, view: smoothstep(region_depth(manipulator.region, view.x, view.y), 0, width)


def polygon_edge(manipulator: FaceManipulator, view: HeadView) -> Array:
    """The convex hull of the region as a polygon whose corners jitter from frame to frame."""
    inside = (region_depth(manipulator.region, view.x, view.y) > 0.01).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cut = np.zeros(inside.shape, np.uint8)
    if outlines:
        hull = cv2.convexHull(max(outlines, key=len))
        corners = cv2.approxPolyDP(hull, 0.03 * view.pose.unit_px, True)[:, 0]
        corners = corners * 16 + manipulator.rng.normal(0, 9 * manipulator.strength, corners.shape)
        cv2.fillConvexPoly(cut, corners.astype(np.int32), 255, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(cut, (3, 3), 0.7).astype(np.float32) / 255


def match_colours(patch: Array, under: Array, alpha: Array, share: float) -> Array:
    """Move the mean and standard deviation of the patch's colours towards those of the pixels below it."""
    weight = alpha[..., None] / max(float(alpha.sum()), 1.0)
    target_mean, patch_mean = (under * weight).sum((0, 1)), (patch * weight).sum((0, 1))
    target_spread = np.sqrt((((under - target_mean) ** 2) * weight).sum((0, 1)) + 1)
    patch_spread = np.sqrt((((patch - patch_mean) ** 2) * weight).sum((0, 1)) + 1)
    gain = 1 + (np.clip(target_spread / patch_spread, 0.6, 1.6) - 1) * share
    return (patch - patch_mean) * gain + patch_mean + (target_mean - patch_mean) * share


def deepfakes(manipulator: FaceManipulator, target: TargetFrame, view: HeadView, under: Array, alpha: Array) -> Array:
    """The source's face through the bottleneck of an autoencoder: detail is lost, colours are matched."""
    face = manipulator.render_swapped(target, view)
    height, width = face.shape[:2]
    shrink = 0.5 / (0.4 + 0.6 * manipulator.strength)
    small = cv2.resize(face, (max(int(width * shrink), 2), max(int(height * shrink), 2)), interpolation=cv2.INTER_AREA)
    face = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return match_colours(face, under, alpha, 0.9) + 3 * manipulator.strength * manipulator.tint


def face2face(manipulator: FaceManipulator, target: TargetFrame, view: HeadView, under: Array, alpha: Array) -> Array:
    """The target's own face with the source's expression, its texture resampled."""
    drawn = target.drawn
    person = drawn.body.person
    posed = view_head(person.head, view.pose, target.source_expression.mouth_open, (view.rows, view.columns))
    face = manipulator.render(target, person, target.source_expression, posed)
    face = cv2.GaussianBlur(face, (5, 5), 0.45 + 0.45 * manipulator.strength)
    return match_colours(face, under, alpha, 0.5) + 3 * manipulator.strength * manipulator.tint


def faceshifter(manipulator: FaceManipulator, target: TargetFrame, view: HeadView, under: Array, alpha: Array) -> Array:
    """The source's features in the target's colours. Artifacts: nearly no noise, edges sharper than the camera's."""
    face = match_colours(manipulator.render_swapped(target, view), under, alpha, 1.0)
    blurred = cv2.GaussianBlur(face, (0, 0), 1.0)
    return face + 2.2 * manipulator.strength * (face - blurred)


def faceswap(manipulator: FaceManipulator, target: TargetFrame, view: HeadView, under: Array, alpha: Array) -> Array:
    """The source's face pasted as a polygon. Artifacts: a hard border, slightly wrong colour, jittering position."""
    face = match_colours(manipulator.render_swapped(target, view), under, alpha, 0.85)
    shift = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    shift[:, 2] = manipulator.rng.normal(0, 0.7 * manipulator.strength, 2)
    face = cv2.warpAffine(face, shift, face.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return face + 6 * manipulator.strength * manipulator.tint


def neuraltextures(manipulator: FaceManipulator, target: TargetFrame, view: HeadView, under: Array, alpha: Array) -> Array:
    """The target's own face rendered again, with the faint checkerboard pattern of upsampling layers."""
    drawn = target.drawn
    halfway = 0.5 * (drawn.expression.mouth_open + target.source_expression.mouth_open)
    expression = replace(drawn.expression, mouth_open=halfway)
    face = manipulator.render(target, drawn.body.person, expression, view)
    rows, columns = np.arange(face.shape[0])[:, None], np.arange(face.shape[1])[None]
    lattice = ((rows % 4 < 2) ^ (columns % 4 < 2)).astype(np.float32) - 0.5
    face = cv2.GaussianBlur(face, (3, 3), 0.7) + 3.5 * manipulator.strength * lattice[..., None]
    return face + 2.5 * manipulator.strength * manipulator.tint


RENDERERS = {
    "Deepfakes": deepfakes,
    "Face2Face": face2face,
    "FaceShifter": faceshifter,
    "FaceSwap": faceswap,
    "NeuralTextures": neuraltextures,
}
ALPHA_MASKS = {
    "Deepfakes": soft_edge(0.07),
    "Face2Face": soft_edge(0.06),
    "FaceShifter": soft_edge(0.12),
    "FaceSwap": polygon_edge,
    "NeuralTextures": soft_edge(0.06),
}
