"""What never changes about a drawn head, painted once: its skin, its relief and its hair, on a chart of the sphere.

A head is a sphere that the screen stretches. Its surface is kept as a stereographic chart seen from the front: the
point (x, y, z) of the unit sphere lies at 2 (x, y) / (1 + z). The chart has no seam where a turned head shows it and
keeps angles, so skin grain looks the same on the cheek as on the nose. x points to the right of the picture, y down,
z to the viewer.

Features are placed in face units: the half height of the head is 1, the eyes lie on y = 0, the chin on y = 1.
Colours are light, not pixel values: pixel = 255 * sqrt(light).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]  # of float32, all of them

CHART_PX = 416
CHART_REACH = 2.6  # chart units from centre to edge; beyond lies what only shows at the rim of a turned head
PX_PER_UNIT = CHART_PX / (2 * CHART_REACH)
COARSE_PX = 104  # for what is smooth: where expressions move the skin
FACE_HALF_WIDTH = 0.74  # of the head that features are painted for; wider heads stretch them


@dataclass(frozen=True)
class Face:
    """What makes someone recognisable, and what a face swap carries over. Lengths in face units."""

    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]
    brow: tuple[float, float, float]
    blush: float
    freckles: float
    stubble: float
    beard: float
    age: float
    eye_x: float
    eye_width: float
    eye_height: float
    eye_slant: float
    lid_crease: float
    lashes: float
    brow_lift: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_length: float
    nose_height: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    cheekbones: float
    chin: float
    texture_seed: int


@dataclass(frozen=True)
class Hair:
    """Chart and outline of someone's hair. Lengths in face units."""

    style: str
    colour: tuple[float, float, float]
    hairline: float  # y of its middle
    temple: float  # how fast it drops to the sides
    part: float
    volume: float
    length: float  # y where hair behind the head ends; below 0: none
    curl: float
    texture_seed: int


@dataclass(frozen=True)
class FaceChart:
    albedo: Array  # (h, w, 3)
    relief: Array  # (h, w, 4): unit normal in the head's frame, gloss
    height: Array  # (coarse, coarse)


@dataclass(frozen=True)
class Sphere:
    """The chart's own points on the unit sphere, and the directions in which chart x and y grow there."""

    points: Array  # (h, w, 3)
    along_x: Array
    along_y: Array
    scale: Array  # length on the sphere per length on the chart
    x: Array  # face units, (h, w)
    y: Array


@lru_cache(maxsize=1)
def chart_sphere() -> Sphere:
    axis = ((np.arange(CHART_PX) + 0.5) / PX_PER_UNIT - CHART_REACH).astype(np.float32)
    u, v = np.meshgrid(axis, axis)
    scale = 4 / (4 + u * u + v * v)
    z = 2 * scale - 1
    points = np.stack([u * scale, v * scale, z], -1)
    along_x = np.stack([1 - u * u * scale / 2, -u * v * scale / 2, -u * scale], -1)
    along_y = np.stack([-u * v * scale / 2, 1 - v * v * scale / 2, -v * scale], -1)
    return Sphere(points, along_x, along_y, scale, points[..., 0] * FACE_HALF_WIDTH, points[..., 1])


def bell(x: Array, y: Array, at: tuple[float, float], size: tuple[float, float]) -> Array:
    return np.exp(-(((x - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2)


def ramp(value: Array, low: float, high: float) -> Array:
    """0 at `low`, 1 at `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def cloud(rng: Generator, cells: int, size: int = CHART_PX) -> Array:
    """Smooth noise of standard deviation about 1, `cells` lumps across."""
    return cv2.resize(rng.standard_normal((cells, cells), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def mix(under: Array, over: tuple[float, float, float] | Array, share: Array) -> Array:
    return under + (np.asarray(over, np.float32) - under) * share[..., None]


def paint_face(face: Face) -> FaceChart:
    sphere = chart_sphere()
    rng = np.random.default_rng([face.texture_seed, 1])
    side = np.abs(sphere.x)
    front = ramp(sphere.points[..., 2], -0.2, 0.3)
    height = face_height(face, side, sphere.y) * front
    pores = cv2.GaussianBlur(cloud(rng, CHART_PX), (0, 0), 0.7)
    normal = bent_normals(sphere, height + 0.0009 * pores)
    gloss = 0.25 + 0.5 * front * (
        bell(side, sphere.y, (0, 0.33), (0.09, 0.1))
        + 0.7 * bell(side, sphere.y, (0, -0.4), (0.3, 0.15))
        + 0.5 * bell(side, sphere.y, (0.36, 0.14), (0.13, 0.08))
    )
    hollow = np.clip(5.5 * (cv2.GaussianBlur(height, (0, 0), 6) - height), 0, 0.5)  # less of the sky is seen from there
    albedo = paint_skin(face, rng, side, sphere.y, front)
    albedo = mix(albedo, albedo * np.array([0.42, 0.34, 0.33], np.float32), hollow)
    albedo = paint_brows(face, rng, albedo, side, sphere.y, front)
    albedo = paint_beard(face, rng, albedo, side, sphere.y, front)
    relief = np.dstack([normal, gloss * (1 + 0.2 * pores)])
    coarse = cv2.resize(height, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    return FaceChart(np.ascontiguousarray(albedo, np.float32), np.ascontiguousarray(relief, np.float32), coarse)


def face_height(face: Face, side: Array, y: Array) -> Array:
    """How far the skin stands out from the sphere. Symmetric: `side` is the distance from the middle line."""
    tip = 0.36 * face.nose_length
    along = ramp(y, -0.16, tip) * (1 - ramp(y, tip + 0.01, tip + 0.1))
    bridge = along * np.exp(-((side / (0.055 + 0.04 * along)) ** 2)) * 0.16
    ball = 0.07 * bell(side, y, (0, tip), (0.075 * face.nose_width, 0.075))
    wings = 0.065 * bell(side, y, (0.105 * face.nose_width, tip + 0.045), (0.045, 0.05))
    sockets = -0.075 * bell(side, y, (face.eye_x - 0.02, -0.03), (0.17, 0.1))
    balls = 0.05 * bell(side, y, (face.eye_x, 0.0), (0.11, 0.07))
    brows = 0.035 * bell(side, y, (0.26, -0.17), (0.26, 0.08))
    cheeks = 0.06 * face.cheekbones * bell(side, y, (0.4, 0.2), (0.17, 0.13))
    fold = np.exp(-(((side - 0.15 - 0.45 * (y - tip)) / 0.03) ** 2)) * bell(side, y, (0.23, 0.5), (0.2, 0.14))
    fold *= -0.02 * face.age
    muzzle = 0.05 * bell(side, y, (0, face.mouth_y), (0.24, 0.14))
    philtrum = -0.014 * bell(side, y, (0, face.mouth_y - 0.12), (0.022, 0.05))
    under_lip = -0.035 * bell(side, y, (0, face.mouth_y + 0.15), (0.13, 0.035))
    chin = 0.06 * face.chin * bell(side, y, (0, face.mouth_y + 0.28), (0.13, 0.09))
    temples = -0.04 * bell(side, y, (0.68, -0.2), (0.12, 0.25))
    nose = face.nose_height * (bridge + ball + wings)
    return nose + sockets + balls + brows + cheeks + fold + muzzle + philtrum + under_lip + chin + temples


def bent_normals(sphere: Sphere, height: Array) -> Array:
    slope_y, slope_x = np.gradient(height * PX_PER_UNIT)
    tilt = slope_x[..., None] * sphere.along_x + slope_y[..., None] * sphere.along_y
    normal = sphere.points - tilt / sphere.scale[..., None]
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def paint_skin(face: Face, rng: Generator, side: Array, y: Array, front: Array) -> Array:
    skin = np.asarray(face.skin, np.float32)
    tip = 0.36 * face.nose_length
    mottle = 1 + 0.025 * cloud(rng, 14) + 0.02 * cloud(rng, 60) + 0.015 * cloud(rng, 190)
    albedo = skin * mottle[..., None]
    red = (
        face.blush
        * front
        * (
            0.6 * bell(side, y, (0.38, 0.27), (0.17, 0.13))
            + 0.5 * bell(side, y, (0, tip), (0.1, 0.08))
            + 0.25 * bell(side, y, (0, face.mouth_y + 0.28), (0.12, 0.08))
        )
    )
    albedo = mix(albedo, skin * (1.02, 0.68, 0.66), np.clip(red, 0, 1))
    tired = 0.5 * bell(side, y, (face.eye_x - 0.1, 0.02), (0.1, 0.07))
    tired += 0.4 * bell(side, y, (face.eye_x, 0.075), (0.14, 0.03))
    albedo = mix(albedo, skin * (0.7, 0.58, 0.62), np.clip(front * tired * (0.5 + 0.5 * face.age), 0, 1))
    spots = ramp(cloud(rng, 150) + 0.5 * bell(side, y, (0.25, 0.18), (0.3, 0.14)), 1.75, 2.3) * front
    albedo = mix(albedo, skin * (0.66, 0.5, 0.42), face.freckles * spots)
    nostril = bell(side, y, (0.052 * face.nose_width, tip + 0.078), (0.03, 0.014)) * front
    crease = 0.5 * np.exp(-(((np.hypot(side - 0.1 * face.nose_width, y - tip - 0.04) - 0.056) / 0.012) ** 2))
    crease = crease * front * ramp(side, 0.1, 0.13) * ramp(y, tip - 0.02, tip + 0.04)
    albedo = mix(albedo, skin * (0.1, 0.05, 0.05), np.clip(1.1 * nostril + 0.35 * crease, 0, 0.85))
    return paint_wrinkles(face, albedo, side, y, front)


def paint_wrinkles(face: Face, albedo: Array, side: Array, y: Array, front: Array) -> Array:
    tip = 0.36 * face.nose_length
    smile = np.exp(-(((side - 0.15 - 0.42 * (y - tip)) / 0.018) ** 2)) * bell(side, y, (0.22, 0.48), (0.2, 0.1))
    brow = np.exp(-(((np.sin(26 * (y + 0.03 * np.cos(5 * side)))) / 0.3) ** 2)) * bell(side, y, (0, -0.42), (0.3, 0.1))
    crow = np.exp(-(((np.sin(34 * (y - 0.5 * (side - 0.5)))) / 0.3) ** 2))
    crow *= bell(side, y, (face.eye_x + 0.22, 0.0), (0.05, 0.07))
    lines = np.clip(0.5 * smile + 0.35 * brow + 0.4 * crow, 0, 1) * front * max(face.age - 0.25, 0) * 0.6
    return mix(albedo, np.asarray(face.skin, np.float32) * 0.4, lines)


def paint_brows(face: Face, rng: Generator, albedo: Array, side: Array, y: Array, front: Array) -> Array:
    along = (side - face.eye_x + 0.15) / 0.36  # 0 at the inner end, 1 at the outer
    arch = face.brow_arch * np.sin(np.pi * np.clip(0.08 + 0.72 * along, 0, 1))
    middle = -0.165 - face.brow_lift - arch + 0.03 * along
    half = face.brow_thickness * ramp(along, -0.1, 0.12) * (1.05 - 0.75 * np.clip(along, 0, 1))
    strands = cv2.GaussianBlur(cloud(rng, 300), (0, 0), 0.6) * 0.35
    body = ramp(half - np.abs(y - middle) + 0.008 * strands, -0.012, 0.022)
    body *= ramp(along, -0.12, 0.1) * (1 - ramp(along, 0.9, 1.1))
    return mix(albedo, face.brow, np.clip(body * (0.95 + 0.3 * strands), 0, 0.95) * front)


def paint_beard(face: Face, rng: Generator, albedo: Array, side: Array, y: Array, front: Array) -> Array:
    """Stubble as a bluish shade of the skin, a beard as hair; both leave out the lips."""
    cheek = ramp(y - 0.28 - 0.5 * np.maximum(0.42 - side, 0) + 0.16 * ramp(side, 0.5, 0.7), 0.0, 0.12)
    lip = bell(side, y, (0, face.mouth_y + 0.025), (face.mouth_width * 0.9, 0.05))
    moustache = bell(side, y - 0.25 * side, (0.1, face.mouth_y - 0.105), (0.17, 0.055))
    zone = np.clip(np.maximum(cheek * ramp(y + 0.25 * side, 0.52, 0.68), moustache * 1.2) - 1.2 * lip, 0, 1)
    shade = np.asarray(face.skin, np.float32) * (0.55, 0.55, 0.62)
    albedo = mix(albedo, shade, np.clip(zone * face.stubble * (0.7 + 0.3 * cloud(rng, 240)), 0, 0.8))
    grain = cv2.GaussianBlur(cloud(rng, 260), (0, 0), sigmaX=0.6, sigmaY=1.4)
    cover = np.clip(ramp(zone + 0.12 * grain, 0.25, 0.6) * face.beard, 0, 0.95)
    hair = np.asarray(face.brow, np.float32) * (1 + 0.45 * grain[..., None])
    return mix(albedo, np.clip(hair, 0.002, 1), cover)


def paint_hair(hair: Hair) -> Array:
    """(h, w, 3): cover, brightness of the strands, and how far the outline is bitten into (face units)."""
    sphere = chart_sphere()
    rng = np.random.default_rng([hair.texture_seed, 2])
    x, y = sphere.points[..., 0], sphere.points[..., 1]
    strands = hair_strands(hair, rng, x, y)
    behind = ramp(-sphere.points[..., 2], -0.2, 0.15) * (y < 0.3 + 0.08 * strands)
    cover = np.maximum(ramp(hairline(hair, x, strands) - y, -0.012, 0.035), behind)
    if hair.length > 0:
        curtain = ramp(np.abs(x) + 0.015 * strands - 0.03 * np.sin(4 * y + hair.part), 0.8, 0.86) * (y > -0.5)
        cover = np.maximum(cover, curtain)
    bite = hair.curl**2 * 0.035 * np.clip(0.7 + 0.7 * cloud(rng, 24), 0, 2)
    shade = np.clip(0.8 + 0.2 * strands + 0.08 * cloud(rng, 9), 0.25, 1.6)
    return np.dstack([cover, shade, bite]).astype(np.float32)


def hairline(hair: Hair, x: Array, strands: Array) -> Array:
    """The y down to which hair covers the forehead and, at the sides, the temples."""
    if hair.style == "fringe":
        return hair.hairline + 0.35 * ramp(np.abs(x), 0.5, 0.8) + 0.05 * strands
    if hair.length > 0:  # falls to both sides of the parting
        return hair.hairline - 0.06 + (0.75 + 0.5 * hair.temple) * np.abs(x - 0.3 * hair.part) ** 1.5 + 0.02 * strands
    sides = 0.6 * ramp(np.abs(x), 0.62, 0.92) - 0.1 * hair.temple * np.exp(-(((np.abs(x) - 0.45) / 0.14) ** 2))
    sweep = 0.2 * hair.part * x if hair.style == "swept" else 0 * x
    return hair.hairline + 0.4 * hair.temple * x**2 + sides + sweep + 0.025 * strands


def hair_strands(hair: Hair, rng: Generator, x: Array, y: Array) -> Array:
    """Noise drawn out along the way that hair falls from the crown or the parting."""
    if hair.curl > 0.8:
        return cv2.GaussianBlur(cloud(rng, 90) + 0.9 * cloud(rng, 45), (0, 0), 1)
    parted = 1.0 if hair.style in ("swept", "long", "bob") else 0.35
    dx, dy = x - 0.45 * parted * hair.part, y + (1.02 if parted == 1.0 else 1.3)
    angle, radius = np.arctan2(dx, dy), np.hypot(dx, dy)
    wave = hair.curl * 0.1 * np.sin(9 * radius + 3 * angle)
    across = ((angle + wave + np.pi) / (2 * np.pi) * CHART_PX).astype(np.float32)
    along = (radius * (14 + 30 * hair.curl)).astype(np.float32)
    noise = 0.7 * cloud(rng, 260) + 0.7 * cloud(rng, 90)
    return cv2.remap(noise, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
