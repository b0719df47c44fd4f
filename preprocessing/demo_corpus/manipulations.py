"""Five ways to tamper with a drawn face, each after the method of FaceForensics++ whose name it bears.

A manipulation sees what a forger has: the recorded, noisy frame, and a clean rendering of the face it wants to put
there. It lays that rendering over one part of the face. Which part differs from video to video, so that a heatmap
cannot be right by always pointing at the middle of the face. What gives a fake away is what gives real ones away:
texture that went through a bottleneck, grain that is not the camera's, a seam, light or colour that is a little off,
features a little out of place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from preprocessing.demo_corpus.face_charts import Array, ramp
from preprocessing.demo_corpus.heads import HeadView, view_head
from preprocessing.demo_corpus.people import Expression, Person
from preprocessing.demo_corpus.portraits import Take, redraw_head
from preprocessing.demo_corpus.scenery import Camera, camera_falloff, sensor_noise

LEAST_ALPHA = 0.1  # what is fainter is not laid over at all, so the mask is exactly where pixels can change
LEAST_GRAIN_PX = 240  # side of the square of noise that a forgery's frames take theirs from
# The grain of what a method puts out: its share of the camera's noise, and its blur (sigma in pixels).
GRAIN = {
    "Deepfakes": (0.5, 0.9),
    "Face2Face": (0.5, 0.8),
    "FaceShifter": (0.1, 0.0),
    "FaceSwap": (0.45, 0.7),
    "NeuralTextures": (0.45, 0.6),
}


@dataclass(frozen=True)
class Shot:
    """One recorded moment of the target, and what the source's actor did at that moment."""

    take: Take
    recorded: np.ndarray  # (h, w, 3) uint8
    swapped: Person  # the target wearing the source's face
    source_expression: Expression


class Forgery:
    """One fake video: its method, the part of the face it changes, and what stays the same from frame to frame."""

    def __init__(self, method: str, part: str, camera: Camera, height: int, strength: float, rng: Generator) -> None:
        self.method, self.part, self.strength, self.rng = method, part, strength, rng
        self.camera = camera
        share, blur = GRAIN[method]
        side = max(height, LEAST_GRAIN_PX)  # no face is larger than the picture is high
        self.grain = sensor_noise(rng, (side, side), share * camera.noise, blur)
        self.tint = rng.uniform(-1, 1, 3).astype(np.float32)

    def apply(self, shot: Shot) -> tuple[np.ndarray, np.ndarray]:
        """The frame with the face changed (uint8), and the mask of what was changed (bool, the whole frame)."""
        fake, mask = shot.recorded.copy(), np.zeros(shot.recorded.shape[:2], bool)
        if shot.take.view.cover.size == 0:  # the head is outside the picture
            return fake, mask
        alpha = FEATHERS[self.method](self, shot.take.view) * shot.take.view.cover
        alpha[alpha < LEAST_ALPHA] = 0
        box = box_of(alpha > 0)
        if box is None:
            return fake, mask
        view, alpha = shot.take.view.crop(*box), alpha[box]
        window = view.rows, view.columns
        under = shot.recorded[window].astype(np.float32)
        patch = RENDERERS[self.method](self, shot, view, under, alpha) + self.take_grain(alpha.shape)
        fake[window] = np.clip(under + (patch - under) * alpha[..., None] + 0.5, 0, 255).astype(np.uint8)
        mask[window] = alpha > 0
        return fake, mask

    def take_grain(self, size: tuple[int, ...]) -> Array:
        spare = [whole - extent + 1 for whole, extent in zip(self.grain.shape[:2], size, strict=True)]
        top, left = (int(self.rng.integers(0, room)) for room in spare)
        return self.grain[top : top + size[0], left : left + size[1]]

    def render(self, shot: Shot, person: Person, expression: Expression, view: HeadView) -> Array:
        clean = redraw_head(shot.take, person, expression, view)
        return clean * camera_falloff(self.camera, shot.recorded.shape[:2])[view.rows, view.columns]

    def swapped(self, shot: Shot, view: HeadView) -> Array:
        """The source's face in the target's pose, expression and light."""
        return self.render(shot, shot.swapped, shot.take.expression, view)


def box_of(mask: np.ndarray) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def wearing_face_of(target: Person, source: Person) -> Person:
    """Outline, hair and glasses stay the target's."""
    return replace(target, face=source.face)


def part_depth(part: str, x: Array, y: Array) -> Array:
    """How deep inside a part of the face (x, y) lies, face units; below 0: outside. Left is the picture's left."""
    oval = (1 - np.hypot(x / 0.52, (y - 0.27) / 0.62)) * 0.5
    across = x if part.startswith("right") else -x
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
    }[part]()


PARTS = {
    "Deepfakes": ("face", "left half", "right half", "upper half", "left half", "right half", "lower half", "eyes"),
    "Face2Face": ("mouth", "left half", "lower half", "right half", "eyes", "mouth", "upper half"),
    "FaceShifter": ("left half", "upper half", "right half", "lower half", "left eye", "eyes", "right eye", "mouth"),
    "FaceSwap": ("left half", "right eye", "lower half", "right half", "left eye", "upper half"),
    "NeuralTextures": ("mouth", "left cheek", "right eye", "lower half", "right cheek", "left eye"),
}
METHODS = tuple(PARTS)


def part_for(method: str, index: int) -> str:
    """The parts in turn, so that each is changed equally often, on the left as on the right."""
    return PARTS[method][index % len(PARTS[method])]


def soft(width: float) -> Callable[[Forgery, HeadView], Array]:
    return lambda forgery, view: ramp(part_depth(forgery.part, view.x, view.y), 0, width)


def polygon(forgery: Forgery, view: HeadView) -> Array:
    """The hull of the part, cut out along straight lines that tremble from frame to frame."""
    inside = (part_depth(forgery.part, view.x, view.y) > 0.01).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cut = np.zeros(inside.shape, np.uint8)
    if outlines:
        hull = cv2.convexHull(max(outlines, key=len))
        corners = cv2.approxPolyDP(hull, 0.03 * view.pose.unit_px, True)[:, 0]
        corners = corners * 16 + forgery.rng.normal(0, 9 * forgery.strength, corners.shape)
        cv2.fillConvexPoly(cut, corners.astype(np.int32), 255, cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(cut, (3, 3), 0.7).astype(np.float32) / 255


def matched(patch: Array, under: Array, alpha: Array, share: float) -> Array:
    """The patch with its colours' mean and spread moved towards those of what it covers."""
    weight = alpha[..., None] / max(float(alpha.sum()), 1.0)
    there, here = (under * weight).sum((0, 1)), (patch * weight).sum((0, 1))
    spread_there = np.sqrt((((under - there) ** 2) * weight).sum((0, 1)) + 1)
    spread_here = np.sqrt((((patch - here) ** 2) * weight).sum((0, 1)) + 1)
    gain = 1 + (np.clip(spread_there / spread_here, 0.6, 1.6) - 1) * share
    return (patch - here) * gain + here + (there - here) * share


def deepfakes(forgery: Forgery, shot: Shot, view: HeadView, under: Array, alpha: Array) -> Array:
    """Another's face through the narrow middle of an autoencoder: detail is lost, colours are matched."""
    face = forgery.swapped(shot, view)
    height, width = face.shape[:2]
    shrink = 0.5 / (0.4 + 0.6 * forgery.strength)
    small = cv2.resize(face, (max(int(width * shrink), 2), max(int(height * shrink), 2)), interpolation=cv2.INTER_AREA)
    face = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return matched(face, under, alpha, 0.9) + 3 * forgery.strength * forgery.tint


def face2face(forgery: Forgery, shot: Shot, view: HeadView, under: Array, alpha: Array) -> Array:
    """The target's own face with the source's expression, its texture resampled."""
    take = shot.take
    person = take.figure.person
    posed = view_head(person.head, view.pose, shot.source_expression.mouth_open, (view.rows, view.columns))
    face = forgery.render(shot, person, shot.source_expression, posed)
    face = cv2.GaussianBlur(face, (5, 5), 0.45 + 0.45 * forgery.strength)
    return matched(face, under, alpha, 0.5) + 3 * forgery.strength * forgery.tint


def faceshifter(forgery: Forgery, shot: Shot, view: HeadView, under: Array, alpha: Array) -> Array:
    """Another's features in the target's colours: a texture without grain, edges crisper than the camera's give them away."""
    face = matched(forgery.swapped(shot, view), under, alpha, 1.0)
    blurred = cv2.GaussianBlur(face, (0, 0), 1.0)
    return face + 2.2 * forgery.strength * (face - blurred)


def faceswap(forgery: Forgery, shot: Shot, view: HeadView, under: Array, alpha: Array) -> Array:
    """Another's face pasted as a polygon: a hard border, a colour that is not quite right, an unsteady place."""
    face = matched(forgery.swapped(shot, view), under, alpha, 0.85)
    move = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    move[:, 2] = forgery.rng.normal(0, 0.7 * forgery.strength, 2)
    face = cv2.warpAffine(face, move, face.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return face + 6 * forgery.strength * forgery.tint


def neuraltextures(forgery: Forgery, shot: Shot, view: HeadView, under: Array, alpha: Array) -> Array:
    """The target's own face rendered anew: a learnt texture with the faint lattice that upsampling layers leave."""
    take = shot.take
    halfway = 0.5 * (take.expression.mouth_open + shot.source_expression.mouth_open)
    expression = replace(take.expression, mouth_open=halfway)
    face = forgery.render(shot, take.figure.person, expression, view)
    rows, columns = np.arange(face.shape[0])[:, None], np.arange(face.shape[1])[None]
    lattice = ((rows % 4 < 2) ^ (columns % 4 < 2)).astype(np.float32) - 0.5
    face = cv2.GaussianBlur(face, (3, 3), 0.7) + 3.5 * forgery.strength * lattice[..., None]
    return face + 2.5 * forgery.strength * forgery.tint


RENDERERS = {
    "Deepfakes": deepfakes,
    "Face2Face": face2face,
    "FaceShifter": faceshifter,
    "FaceSwap": faceswap,
    "NeuralTextures": neuraltextures,
}
FEATHERS = {
    "Deepfakes": soft(0.07),
    "Face2Face": soft(0.06),
    "FaceShifter": soft(0.12),
    "FaceSwap": polygon,
    "NeuralTextures": soft(0.06),
}
