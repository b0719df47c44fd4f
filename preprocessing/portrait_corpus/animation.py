"""Animate a still portrait: head motion, blinks, mouth movement, camera shake, changing light and sensor noise.

Head motion and camera motion are smooth warps of the whole picture. The head warp fades out with the distance from the
head. There is no 3D model; turning the head is approximated by a Gaussian bump. Each `RecordedFrame` holds the frame
that the simulated camera recorded and the face coordinates of its pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.portrait_corpus.grids import (
    Array,
    sample_bicubic,
    smooth_curve,
    smooth_field,
    unit_gaussian,
)
from explain_deepfakes.preprocessing.portrait_corpus.landmarks import MOUTH_Y, FaceAlignment

HEAD_CENTRE = np.array([0, 0.5], np.float32)  # all lengths in this module are in chart units (see landmarks.py)
NECK_PIVOT = np.array([0, 2.0], np.float32)  # centre of the head's rotation
FACE_WINDOW = ((-1.45, -1.4), (1.45, 2.25))  # region of the chart that manipulations work on
NOISE_MARGIN_PX = 24  # by which the noise is larger than a frame


@dataclass(frozen=True)
class Framing:
    """Scale and crop of the portrait that the video shows. The portrait is scaled first, then cropped."""

    scale: float
    left: int
    top: int
    width: int
    height: int
    frame_rate: int


@dataclass(frozen=True)
class RecordedFrame:
    """One recorded frame with the face coordinates of its pixels."""

    index: int
    frame: NDArray[np.uint8]  # (h, w, 3)
    window: tuple[slice, slice]  # of the frame, around the face
    chart: Array  # (h, w, 2): face coordinates of each pixel of the window

    def crop(self, rows: slice, columns: slice) -> "RecordedFrame":
        """Restrict it to a smaller window, given in pixels relative to this one."""
        top, left = self.window[0].start, self.window[1].start
        window = slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
        return replace(self, window=window, chart=np.ascontiguousarray(self.chart[rows, columns]))


class HeadMotion:
    """Maps the pixels of each frame to pixels of the still."""

    def __init__(self, face: FaceAlignment, framing: Framing, seconds: NDArray, rng: Generator) -> None:
        self.face, self.framing = face, framing
        liveliness = rng.uniform(0.5, 1.3)
        self.shift = np.stack([smooth_curve(rng, seconds, 0.09 * liveliness, 0.1, 0.9) for _ in range(2)], 1)
        self.roll = smooth_curve(rng, seconds, 0.06 * liveliness, 0.1, 0.9)
        self.head_zoom = smooth_curve(rng, seconds, 0.035 * liveliness, 0.1, 0.6)
        self.turn = np.stack([smooth_curve(rng, seconds, size * liveliness, 0.1, 1.0) for size in (0.11, 0.07)], 1)
        self.blink = blinks(rng, seconds)
        talk = np.clip(smooth_curve(rng, seconds, 1.0, 0.1, 0.5) + rng.uniform(-0.5, 0.6), 0, 1)
        self.jaw = talk * (0.05 + smooth_curve(rng, seconds, 0.07, 2.0, 5.0))
        self.smile = smooth_curve(rng, seconds, 0.04, 0.1, 1.2)
        shakiness = float(rng.choice((0.0, 0.4, 1.0, 2.0))) * framing.height / 480
        self.camera_shift = np.stack([smooth_curve(rng, seconds, 2.2 * shakiness, 0.3, 5.0) for _ in range(2)], 1)
        self.camera_roll = smooth_curve(rng, seconds, 0.004 * shakiness, 0.3, 3.0)
        self.zoom = smooth_curve(rng, seconds, 0.01, 0.05, 0.3)

    def to_still(self, index: int, pixels: Array) -> Array:
        """Map pixels (n, 2) of the frame to points in the still."""
        return self._undo_expression(index, self._undo_head_motion(index, self._undo_camera(index, pixels)))

    def to_frame(self, index: int, points: Array) -> Array:
        """Map points in the still to pixels of the frame. Fixed-point iteration converges because displacements are small."""
        pixels = points - np.array([self.framing.left, self.framing.top], np.float32)
        for _ in range(8):
            pixels = pixels + points - self.to_still(index, pixels)
        return pixels

    def _undo_camera(self, index: int, pixels: Array) -> Array:
        middle = np.array([self.framing.width, self.framing.height], np.float32) / 2
        turned = (pixels - middle) @ rotation_matrix(float(self.camera_roll[index])).T * (1 - self.zoom[index])
        corner = np.array([self.framing.left, self.framing.top], np.float32)
        return turned + middle + corner + self.camera_shift[index]

    def _undo_head_motion(self, index: int, points: Array) -> Array:
        q = self._normalised(points)
        scaled_offset = (q - HEAD_CENTRE) / np.array([1.9, 2.2], np.float32)
        falloff = 1 / (1 + (scaled_offset**2).sum(-1) ** 2)
        bump = unit_gaussian(q, (0.0, 0.45), (0.75, 0.95))
        around_neck = (q - NECK_PIVOT) @ (rotation_matrix(float(self.roll[index])) - np.eye(2, dtype=np.float32)).T
        displacement = around_neck - self.shift[index] - self.head_zoom[index] * (q - HEAD_CENTRE)
        return points + (falloff[:, None] * displacement - bump[:, None] * self.turn[index]) @ self._unit_matrix.T

    def _undo_expression(self, index: int, points: Array) -> Array:
        q = self._normalised(points)
        displacement = np.zeros_like(q)
        for eye in self._eyes:
            lid = unit_gaussian(q, (eye[0], eye[1] - 0.02), (0.26, 0.13))
            displacement[:, 1] += self.blink[index] * lid * (q[:, 1] - eye[1] - 0.07)
        for corner, side in zip(self._mouth, (-1, 1), strict=True):
            displacement[:, 0] -= side * self.smile[index] * unit_gaussian(q, (corner[0], corner[1]), (0.25, 0.25))
        middle = self._mouth.mean(0)
        displacement[:, 1] -= self.jaw[index] * unit_gaussian(q, (middle[0], middle[1] + 0.25), (0.55, 0.3))
        return points + displacement @ self._unit_matrix.T

    def _normalised(self, points: Array) -> Array:
        """Coordinates of the head without its roll, in units of the distance between the eyes."""
        return (points - self.face.origin) @ np.linalg.inv(self._unit_matrix).T.astype(np.float32)

    @cached_property
    def _unit_matrix(self) -> Array:
        across = self.face.matrix[:, 0]
        down = np.array([-across[1], across[0]], np.float32) * np.float32(self._length_ratio)
        return np.stack([across, down], 1)

    @cached_property
    def _length_ratio(self) -> float:
        """Length of the face relative to the distance between the eyes; it depends on the pitch and the person."""
        return float(np.hypot(*self.face.matrix[:, 1])) / self.face.unit_px

    @cached_property
    def _eyes(self) -> Array:
        return self._normalised(self.face.points[:2])

    @cached_property
    def _mouth(self) -> Array:
        return self._normalised(self.face.points[3:])


def rotation_matrix(angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]], np.float32)


def blinks(rng: Generator, seconds: NDArray) -> Array:
    """How far the eyes are closed at each time. Values above 2.2 would fold the warp."""
    closed = np.zeros(len(seconds), np.float32)
    begin = float(rng.uniform(-0.3, 2.5))
    while begin < seconds[-1]:
        phase = np.clip((seconds - begin) / rng.uniform(0.2, 0.35), 0, 1)
        closed += (np.sin(np.pi * phase) ** 2 * rng.uniform(1.2, 1.9)).astype(np.float32)
        begin += float(rng.uniform(1.5, 5))
    return closed


class SimulatedCamera:
    """Turns a clean frame into a recorded one: light, contrast, colour, lens blur, sharpening and sensor noise."""

    def __init__(self, framing: Framing, seconds: NDArray, rng: Generator) -> None:
        self.gain = float(rng.uniform(0.85, 1.12)) + smooth_curve(rng, seconds, float(rng.uniform(0, 0.06)), 0.1, 1.0)
        self.slope = np.stack([smooth_curve(rng, seconds, 0.12, 0.05, 0.5) for _ in range(2)], 1) + rng.normal(0, 0.05, 2)
        self.contrast = float(rng.uniform(0.85, 1.12))
        self.tint = 1 + rng.normal(0, 0.025, 3) + smooth_curve(rng, seconds, 0.012, 0.1, 0.5)[:, None] * np.array([1, 0, -1])
        self.blur = float(rng.choice((0.0, 0.0, 0.5, 0.8)))
        self.sharpening = float(rng.choice((0.0, 0.0, 0.35, 0.8)))
        self.noise_sigma = float(rng.uniform(0.4, 1.5) if rng.random() < 0.6 else rng.uniform(1.5, 5.0))
        self.noise = sensor_noise(rng, framing.height, framing.width, self.noise_sigma)
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
            lit = sharpen(lit, 1.0, self.sharpening)
        return to_uint8(lit + crop_noise(self.noise, self.rng, height, width))


def sensor_noise(rng: Generator, height: int, width: int, sigma: float) -> Array:
    """Noise slightly larger than a frame; each frame gets a random crop of it."""
    field = rng.standard_normal((height + NOISE_MARGIN_PX, width + NOISE_MARGIN_PX, 3), dtype=np.float32)
    blur = float(rng.uniform(0.35, 0.9))
    field = cv2.GaussianBlur(field, (0, 0), blur)
    return field * np.float32(sigma / field.std())


def crop_noise(field: Array, rng: Generator, height: int, width: int) -> Array:
    top = int(rng.integers(0, field.shape[0] - height + 1))
    left = int(rng.integers(0, field.shape[1] - width + 1))
    return field[top : top + height, left : left + width]


def sharpen(picture: Array, sigma: float, amount: float) -> Array:
    return cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (0, 0), sigma), -amount, 0)


def to_uint8(picture: Array) -> NDArray[np.uint8]:
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)


def animate(still: Array, face: FaceAlignment, framing: Framing, frames: int, rng: Generator) -> Iterator[RecordedFrame]:
    """Generate the frames of a video. `still` and `face` are already scaled by the framing's scale."""
    seconds = np.arange(frames) / framing.frame_rate
    motion, camera = HeadMotion(face, framing, seconds, rng), SimulatedCamera(framing, seconds, rng)
    for index in range(frames):
        window = face_window(motion, index)

        def to_still(pixels: Array, index: int = index) -> Array:
            return motion.to_still(index, pixels)

        coordinates = smooth_field(to_still, 0, 0, framing.height, framing.width)
        frame = camera.record(sample_bicubic(still, coordinates), index)
        rows, columns = window
        extent = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
        chart = smooth_field(lambda pixels: face.to_chart(to_still(pixels)), *extent)
        yield RecordedFrame(index, frame, window, chart)


def face_window(motion: HeadMotion, index: int) -> tuple[slice, slice]:
    """The bounding box of FACE_WINDOW in the frame."""
    (x0, y0), (x1, y1) = FACE_WINDOW
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1], [x0, MOUTH_Y], [x1, MOUTH_Y]], np.float32)
    pixels = motion.to_frame(index, corners @ motion.face.matrix.T + motion.face.origin)
    low = np.clip(np.floor(pixels.min(0)), 0, (motion.framing.width - 2, motion.framing.height - 2)).astype(int)
    high = np.clip(np.ceil(pixels.max(0)), low + 2, (motion.framing.width, motion.framing.height)).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
