"""Scene and camera of a drawn video: light, backdrop, camera shake and sensor noise."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.random import Generator

from explain_deepfakes.preprocessing.demo_corpus.face_charts import Array

Colour = tuple[float, float, float]
MARGIN_PX = 12  # of backdrop around the picture, the maximum camera shake
BACKDROPS = ("wall", "shelves", "window", "evening", "hills", "panels", "pictures")


@dataclass(frozen=True)
class Light:
    """A key light, a fill light and ambient light. Directions are in the camera frame: x right, y down, z to the camera."""

    direction: Array  # unit vector to the key light
    key: Array  # colour of the key light
    fill_direction: Array
    fill: Array
    ambient: Array


@dataclass(frozen=True)
class CameraModel:
    """Noise, vignetting and shake of a camera."""

    noise: float  # standard deviation of the sensor noise at mid grey, in pixel values
    noise_blur_px: float  # sigma of the blur that correlates the noise of neighbouring pixels
    vignette: float
    shake_px: float
    seed: int


@dataclass(frozen=True)
class Scene:
    height: int
    width: int
    backdrop_kind: str
    light: Light
    camera: CameraModel
    seed: int

    @cached_property
    def backdrop(self) -> Array:
        """(h, w, 3) pixel values, with MARGIN_PX of padding on every side."""
        return paint_backdrop(self)


def sample_scene(rng: Generator, height: int, width: int) -> Scene:
    return Scene(height, width, str(rng.choice(BACKDROPS)), sample_light(rng), sample_camera(rng), int(rng.integers(2**31)))


def sample_light(rng: Generator) -> Light:
    def towards(x: float, y: float, z: float) -> Array:
        vector = np.array([x, y, z], np.float32)
        return vector / np.linalg.norm(vector)

    side = float(rng.choice((-1, 1)))
    warm = np.array([1.06, 1.0, 0.90], np.float32) ** rng.uniform(-1.0, 1.6)
    strength = rng.uniform(0.72, 1.0)
    key = (warm * (strength / warm.mean())).astype(np.float32)
    fill = (1 / warm * rng.uniform(0.10, 0.3)).astype(np.float32)
    return Light(
        direction=towards(side * rng.uniform(0.25, 0.85), rng.uniform(-0.75, -0.2), rng.uniform(0.6, 1.0)),
        key=key,
        fill_direction=towards(-side, rng.uniform(-0.2, 0.4), 0.6),
        fill=fill,
        ambient=np.full(3, rng.uniform(0.07, 0.16), np.float32),
    )


def sample_camera(rng: Generator) -> CameraModel:
    return CameraModel(
        noise=float(rng.uniform(2.5, 5.0)),
        noise_blur_px=float(rng.uniform(0.0, 0.45)),
        vignette=float(rng.uniform(0.0, 0.25)),
        shake_px=float(rng.uniform(0.0, 1.6)),
        seed=int(rng.integers(2**31)),
    )


def shake_path(camera: CameraModel, frames: int) -> Array:
    """(frames, 2): shift of the camera view in x and y, in pixels; it stays within the margin of the backdrop."""
    rng = np.random.default_rng([camera.seed, 3])
    steps = cv2.GaussianBlur(rng.standard_normal((frames + 16, 2)).astype(np.float32), (1, 15), 0, sigmaY=2.5)
    return np.clip(steps[8:-8] * 3.5 * camera.shake_px, 1 - MARGIN_PX, MARGIN_PX - 1)


@lru_cache(maxsize=4)
def camera_falloff(camera: CameraModel, size: tuple[int, int]) -> Array:
    """(h, w, 1): fraction of the light that reaches each pixel; a lens darkens towards the corners."""
    rows, columns = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])[None]
    return (1 - camera.vignette * 0.5 * (rows**2 + columns**2)).astype(np.float32)[..., None]


class Sensor:
    """The camera sensor: applies vignetting and noise to a clean frame and rounds it to 8 bits."""

    def __init__(self, camera: CameraModel, height: int, width: int) -> None:
        self.size = (height, width)
        rng = np.random.default_rng([camera.seed, 4])
        self.noise = sensor_noise(rng, (height + 96, width + 96), camera.noise, camera.noise_blur_px)
        self.offset_rng = np.random.default_rng([camera.seed, 5])
        self.falloff = camera_falloff(camera, self.size)

    def record(self, clean: Array) -> np.ndarray:
        """Record the next frame: (h, w, 3) pixel values as floats to uint8."""
        height, width = self.size
        top, left = (int(v) for v in self.offset_rng.integers(0, 96, size=2))
        sign = int(self.offset_rng.choice((-1, 1)))
        noise = self.noise[top : top + height, left : left + width] * sign
        picture = clean * self.falloff
        picture += noise * (0.6 + 0.4 / 128 * cv2.GaussianBlur(picture, (3, 3), 0))
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def sensor_noise(rng: Generator, size: tuple[int, int], sigma: float, noise_blur_px: float) -> Array:
    """Noise that is mostly shared by the three channels, as after demosaicing."""
    noise = 0.8 * rng.standard_normal((*size, 1), np.float32) + 0.6 * rng.standard_normal((*size, 3), np.float32)
    if noise_blur_px > 0.15:
        noise = cv2.GaussianBlur(noise, (5, 5), noise_blur_px)
    return noise * np.float32(sigma / noise.std())


def paint_backdrop(scene: Scene) -> Array:
    """Paint the backdrop out of focus and lit by the key light."""
    rng = np.random.default_rng([scene.seed, 6])
    height, width = scene.height + 2 * MARGIN_PX, scene.width + 2 * MARGIN_PX
    base = muted_colour(rng, 70, 190)
    canvas = np.full((height, width, 3), base, np.float32)
    PAINTERS[scene.backdrop_kind](canvas, rng)
    canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(1.5, 4.5)))
    light = np.linspace(-1, 1, width)[None, :, None] * scene.light.direction[0] * 0.3 + 1
    tint = np.sqrt(np.maximum(scene.light.key / scene.light.key.mean(), 0.1))
    return np.clip(canvas * light * tint * rng.uniform(0.75, 1.0), 4, 245).astype(np.float32)


def muted_colour(rng: Generator, low: float, high: float) -> Array:
    grey = rng.uniform(low, high)
    return np.clip(grey + rng.uniform(-28, 28, 3), 10, 240).astype(np.float32)


def paint_wall(canvas: Array, rng: Generator) -> None:
    height, width = canvas.shape[:2]
    centre = rng.uniform(0, width), rng.uniform(0, height * 0.5)
    rows, columns = np.ogrid[:height, :width]
    glow = np.exp(-(((columns - centre[0]) / (0.5 * width)) ** 2) - ((rows - centre[1]) / (0.6 * height)) ** 2)
    canvas *= (0.7 + 0.5 * glow)[..., None]
    canvas[int(height * rng.uniform(0.6, 0.9)) :] *= 0.8


def paint_shelves(canvas: Array, rng: Generator) -> None:
    height, width = canvas.shape[:2]
    canvas *= 0.45
    step = int(rng.integers(48, 72))
    for top in range(int(rng.integers(-30, 0)), height, step):
        left = 0
        while left < width:
            width_px = int(rng.integers(5, 18))
            height_px = int(step * rng.uniform(0.6, 0.9))
            if rng.random() < 0.85:
                canvas[max(top + step - height_px, 0) : max(top + step - 4, 0), left : left + width_px - 1] = muted_colour(
                    rng, 40, 170
                )
            left += width_px
        canvas[max(top + step - 4, 0) : max(top + step, 0)] = muted_colour(rng, 90, 120)


def paint_window(canvas: Array, rng: Generator) -> None:
    height, width = canvas.shape[:2]
    left, right = sorted(int(v) for v in rng.uniform(0.02, 0.98, 2) * width)
    right = max(right, left + 110)
    sky = np.linspace(240, 190, height)[:, None, None] * np.array([0.92, 0.97, 1.0])
    canvas[10:-60, left:right] = sky[10:-60]
    canvas[10:-60, (left + right) // 2 - 3 : (left + right) // 2 + 3] *= 0.6
    curtain = muted_colour(rng, 110, 200)
    for edge in (left - 30, right - 10):
        columns = np.arange(max(edge, 0), min(edge + 40, width))
        canvas[:, columns] = curtain * (0.8 + 0.2 * np.sin(columns * 0.6))[None, :, None]


def paint_evening(canvas: Array, rng: Generator) -> None:
    height, width = canvas.shape[:2]
    canvas *= np.linspace(0.25, 0.4, height)[:, None, None]
    for _ in range(int(rng.integers(14, 30))):
        centre = int(rng.uniform(0, width)), int(rng.uniform(0, height * 0.85))
        colour = muted_colour(rng, 110, 200) * (1.15, 1.0, 0.75)
        lamp = np.zeros_like(canvas)
        cv2.circle(lamp, centre, int(rng.integers(5, 14)), colour.tolist(), -1)
        canvas += lamp * rng.uniform(0.2, 0.7)


def paint_hills(canvas: Array, rng: Generator) -> None:
    height, width = canvas.shape[:2]
    canvas[:] = np.linspace(1.0, 0.85, height)[:, None, None] * np.array([185.0, 208.0, 228.0]) * rng.uniform(0.8, 1.0)
    columns = np.arange(width)
    for depth in range(3):
        line = height * (0.42 + 0.17 * depth) + 14 * np.sin(columns * rng.uniform(0.01, 0.03) + rng.uniform(0, 6))
        line = line + 3 * np.sin(columns * 0.2 + rng.uniform(0, 6))
        colour = np.array([105, 128, 100]) * (1.1 - 0.25 * depth) + rng.uniform(-14, 14, 3)
        canvas[np.arange(height)[:, None] > line[None]] = colour


def paint_panels(canvas: Array, rng: Generator) -> None:
    width = canvas.shape[1]
    step = rng.uniform(14, 60)
    edges = ((np.arange(width) + rng.uniform(0, step)) % step) < max(step * 0.08, 2)
    canvas *= (1 - 0.3 * edges)[None, :, None]
    canvas[: int(rng.integers(0, 50))] *= 1.15


def paint_pictures(canvas: Array, rng: Generator) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(2, 5))):
        left, top = int(rng.uniform(-20, width - 40)), int(rng.uniform(-10, height * 0.5))
        width_px, height_px = (int(v) for v in rng.uniform(40, 90, 2))
        cv2.rectangle(canvas, (left, top), (left + width_px, top + height_px), muted_colour(rng, 30, 80).tolist(), -1)
        cv2.rectangle(
            canvas,
            (left + 5, top + 5),
            (left + width_px - 5, top + height_px - 5),
            muted_colour(rng, 120, 220).tolist(),
            -1,
        )
        middle = top + int(height_px * rng.uniform(0.45, 0.7))
        cv2.rectangle(
            canvas,
            (left + 5, middle),
            (left + width_px - 5, top + height_px - 5),
            muted_colour(rng, 70, 150).tolist(),
            -1,
        )


PAINTERS = {
    "wall": paint_wall,
    "shelves": paint_shelves,
    "window": paint_window,
    "evening": paint_evening,
    "hills": paint_hills,
    "panels": paint_panels,
    "pictures": paint_pictures,
}
