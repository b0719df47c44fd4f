"""A still portrait -> a video of it: the head moves and turns a little, eyes blink, the mouth moves, the hand shakes the
camera, the light changes, and a sensor adds its noise.

Frame by frame, `Moment` says from where in the still each pixel comes, and what the camera recorded. Head and camera
are warps of the whole picture that fade out away from the head; there is no model of its shape but a soft bump.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from preprocessing.portrait_corpus.grids import Array, sample, smooth_curve, smooth_field, unit_gaussian
from preprocessing.portrait_corpus.landmarks import MOUTH_Y, FaceFrame

HEAD_MIDDLE = np.array([0, 0.5], np.float32)  # chart units, as all lengths here
NECK = np.array([0, 2.0], np.float32)  # a head nods and tilts around it
WINDOW = ((-1.45, -1.4), (1.45, 2.25))  # of the chart, that manipulations see


@dataclass(frozen=True)
class Framing:
    """What of the portrait the video shows, and how large: the portrait is resized first, then cut."""

    scale: float
    left: int
    top: int
    width: int
    height: int
    frame_rate: int


@dataclass(frozen=True)
class Moment:
    """One frame, as it was recorded, and what is known of it."""

    index: int
    frame: NDArray[np.uint8]  # (h, w, 3)
    window: tuple[slice, slice]  # of the frame, around the face
    chart: Array  # (h, w, 2): where on the face each pixel of the window lies

    def cropped(self, rows: slice, columns: slice) -> "Moment":
        """With a smaller window, given in pixels of this one."""
        top, left = self.window[0].start, self.window[1].start
        window = slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
        return replace(self, window=window, chart=np.ascontiguousarray(self.chart[rows, columns]))


class Motion:
    """Where in the still each pixel of a frame comes from."""

    def __init__(self, face: FaceFrame, framing: Framing, seconds: NDArray, rng: Generator) -> None:
        self.face, self.framing = face, framing
        lively = rng.uniform(0.5, 1.3)
        self.shift = np.stack([smooth_curve(rng, seconds, 0.09 * lively, 0.1, 0.9) for _ in range(2)], 1)
        self.roll = smooth_curve(rng, seconds, 0.06 * lively, 0.1, 0.9)
        self.nearer = smooth_curve(rng, seconds, 0.035 * lively, 0.1, 0.6)
        self.turn = np.stack([smooth_curve(rng, seconds, size * lively, 0.1, 1.0) for size in (0.11, 0.07)], 1)
        self.blink = blinks(rng, seconds)
        talk = np.clip(smooth_curve(rng, seconds, 1.0, 0.1, 0.5) + rng.uniform(-0.5, 0.6), 0, 1)
        self.jaw = talk * (0.05 + smooth_curve(rng, seconds, 0.07, 2.0, 5.0))
        self.smile = smooth_curve(rng, seconds, 0.04, 0.1, 1.2)
        shaky = float(rng.choice((0.0, 0.4, 1.0, 2.0))) * framing.height / 480
        self.camera_shift = np.stack([smooth_curve(rng, seconds, 2.2 * shaky, 0.3, 5.0) for _ in range(2)], 1)
        self.camera_roll = smooth_curve(rng, seconds, 0.004 * shaky, 0.3, 3.0)
        self.zoom = smooth_curve(rng, seconds, 0.01, 0.05, 0.3)

    def still_of(self, index: int, pixels: Array) -> Array:
        """(n, 2) pixels of the frame -> places in the still."""
        return self._without_features(index, self._without_head(index, self._without_camera(index, pixels)))

    def frame_of(self, index: int, places: Array) -> Array:
        """The other way, by fixed-point iteration: no step moves anything far."""
        pixels = places - np.array([self.framing.left, self.framing.top], np.float32)
        for _ in range(8):
            pixels = pixels + places - self.still_of(index, pixels)
        return pixels

    def _without_camera(self, index: int, pixels: Array) -> Array:
        middle = np.array([self.framing.width, self.framing.height], np.float32) / 2
        turned = (pixels - middle) @ rotation(float(self.camera_roll[index])).T * (1 - self.zoom[index])
        corner = np.array([self.framing.left, self.framing.top], np.float32)
        return turned + middle + corner + self.camera_shift[index]

    def _without_head(self, index: int, places: Array) -> Array:
        q = self._normalised(places)
        apart = (q - HEAD_MIDDLE) / np.array([1.9, 2.2], np.float32)
        held = 1 / (1 + (apart**2).sum(-1) ** 2)
        bump = unit_gaussian(q, (0.0, 0.45), (0.75, 0.95))
        around_neck = (q - NECK) @ (rotation(float(self.roll[index])) - np.eye(2, dtype=np.float32)).T
        move = around_neck - self.shift[index] - self.nearer[index] * (q - HEAD_MIDDLE)
        return places + (held[:, None] * move - bump[:, None] * self.turn[index]) @ self._pixels.T

    def _without_features(self, index: int, places: Array) -> Array:
        q = self._normalised(places)
        move = np.zeros_like(q)
        for eye in self._eyes:
            lid = unit_gaussian(q, (eye[0], eye[1] - 0.02), (0.26, 0.13))
            move[:, 1] += self.blink[index] * lid * (q[:, 1] - eye[1] - 0.07)
        for corner, side in zip(self._mouth, (-1, 1), strict=True):
            move[:, 0] -= side * self.smile[index] * unit_gaussian(q, (corner[0], corner[1]), (0.25, 0.25))
        middle = self._mouth.mean(0)
        move[:, 1] -= self.jaw[index] * unit_gaussian(q, (middle[0], middle[1] + 0.25), (0.55, 0.3))
        return places + move @ self._pixels.T

    def _normalised(self, places: Array) -> Array:
        """Upright coordinates of the head, in distances of the eyes."""
        return (places - self.face.origin) @ np.linalg.inv(self._pixels).T.astype(np.float32)

    @cached_property
    def _pixels(self) -> Array:
        across = self.face.matrix[:, 0]
        down = np.array([-across[1], across[0]], np.float32) * np.float32(self._length_ratio)
        return np.stack([across, down], 1)

    @cached_property
    def _length_ratio(self) -> float:
        """A face that looks up or down, or is long, is measured by its own length."""
        return float(np.hypot(*self.face.matrix[:, 1])) / self.face.unit_px

    @cached_property
    def _eyes(self) -> Array:
        return self._normalised(self.face.points[:2])

    @cached_property
    def _mouth(self) -> Array:
        return self._normalised(self.face.points[3:])


def rotation(angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]], np.float32)


def blinks(rng: Generator, seconds: NDArray) -> Array:
    """How much the lids' opening is squeezed at each time; above 2.2 the warp would fold."""
    closed = np.zeros(len(seconds), np.float32)
    begin = float(rng.uniform(-0.3, 2.5))
    while begin < seconds[-1]:
        phase = np.clip((seconds - begin) / rng.uniform(0.2, 0.35), 0, 1)
        closed += (np.sin(np.pi * phase) ** 2 * rng.uniform(1.2, 1.9)).astype(np.float32)
        begin += float(rng.uniform(1.5, 5))
    return closed


class Camera:
    """Light, lens and sensor: what makes a recorded frame of a clean one."""

    def __init__(self, framing: Framing, seconds: NDArray, rng: Generator) -> None:
        self.gain = float(rng.uniform(0.85, 1.12)) + smooth_curve(rng, seconds, float(rng.uniform(0, 0.06)), 0.1, 1.0)
        self.slope = np.stack([smooth_curve(rng, seconds, 0.12, 0.05, 0.5) for _ in range(2)], 1) + rng.normal(0, 0.05, 2)
        self.contrast = float(rng.uniform(0.85, 1.12))
        self.tint = 1 + rng.normal(0, 0.025, 3) + smooth_curve(rng, seconds, 0.012, 0.1, 0.5)[:, None] * np.array([1, 0, -1])
        self.blur = float(rng.choice((0.0, 0.0, 0.5, 0.8)))
        self.sharpening = float(rng.choice((0.0, 0.0, 0.35, 0.8)))
        self.noise = float(rng.uniform(0.4, 1.5) if rng.random() < 0.6 else rng.uniform(1.5, 5.0))
        self.grain = grain(rng, framing.height, framing.width, self.noise)
        self.rng = rng

    def record(self, clean: Array, index: int) -> NDArray[np.uint8]:
        height, width = clean.shape[:2]
        x, y = np.linspace(-0.5, 0.5, width, dtype=np.float32), np.linspace(-0.5, 0.5, height, dtype=np.float32)
        light = self.gain[index] + self.slope[index, 0] * x[None] + self.slope[index, 1] * y[:, None]
        lit = (clean - 110) * np.float32(self.contrast) + 110
        lit = lit * light[..., None].astype(np.float32) * self.tint[index].astype(np.float32)
        if self.blur:
            lit = cv2.GaussianBlur(lit, (0, 0), self.blur)
        if self.sharpening:
            lit = sharpened(lit, 1.0, self.sharpening)
        return to_bytes(lit + cut_grain(self.grain, self.rng, height, width))


SPARE_PX = 24


def grain(rng: Generator, height: int, width: int, sigma: float) -> Array:
    """Noise somewhat larger than a frame, of which each frame gets another part."""
    noise = rng.standard_normal((height + SPARE_PX, width + SPARE_PX, 3), dtype=np.float32)
    blur = float(rng.uniform(0.35, 0.9))
    noise = cv2.GaussianBlur(noise, (0, 0), blur)
    return noise * np.float32(sigma / noise.std())


def cut_grain(noise: Array, rng: Generator, height: int, width: int) -> Array:
    top = int(rng.integers(0, noise.shape[0] - height + 1))
    left = int(rng.integers(0, noise.shape[1] - width + 1))
    return noise[top : top + height, left : left + width]


def sharpened(picture: Array, sigma: float, amount: float) -> Array:
    return cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (0, 0), sigma), -amount, 0)


def to_bytes(picture: Array) -> NDArray[np.uint8]:
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)


def animate(still: Array, face: FaceFrame, framing: Framing, frames: int, rng: Generator) -> Iterator[Moment]:
    """The frames of a video of the still, which is the portrait resized by the framing's scale, as is the face."""
    seconds = np.arange(frames) / framing.frame_rate
    motion, camera = Motion(face, framing, seconds, rng), Camera(framing, seconds, rng)
    for index in range(frames):
        window = face_window(motion, index)

        def still_of(pixels: Array, index: int = index) -> Array:
            return motion.still_of(index, pixels)

        where = smooth_field(still_of, 0, 0, framing.height, framing.width)
        frame = camera.record(sample(still, where), index)
        rows, columns = window
        extent = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
        chart = smooth_field(lambda pixels: face.to_chart(still_of(pixels)), *extent)
        yield Moment(index, frame, window, chart)


def face_window(motion: Motion, index: int) -> tuple[slice, slice]:
    """The smallest box around the face's surroundings, within the frame."""
    (x0, y0), (x1, y1) = WINDOW
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1], [x0, MOUTH_Y], [x1, MOUTH_Y]], np.float32)
    pixels = motion.frame_of(index, corners @ motion.face.matrix.T + motion.face.origin)
    low = np.clip(np.floor(pixels.min(0)), 0, (motion.framing.width - 2, motion.framing.height - 2)).astype(int)
    high = np.clip(np.ceil(pixels.max(0)), low + 2, (motion.framing.width, motion.framing.height)).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
