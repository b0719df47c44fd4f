"""Texture charts of a head: albedo, relief and hair, painted once per person on a chart of the unit sphere.

A head is modelled as a unit sphere that the projection stretches. Its surface is stored as a stereographic chart seen
from the front: the point (x, y, z) of the sphere lies at 2 (x, y) / (1 + z). The chart has no visible seam on a turned
head and preserves angles, so skin texture looks the same on the cheek as on the nose. x points to the right of the
picture, y down, z to the viewer.

Positions of facial features are in face units: the half height of the head is 1, the eyes lie on y = 0, the chin on
y = 1. Colours are linear light, not pixel values: pixel = 255 * sqrt(light).
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.floating]  # mostly float32

CHART_PX = 416
CHART_REACH = 2.6  # chart units from centre to edge; points beyond show only at the rim of a turned head
PX_PER_UNIT = CHART_PX / (2 * CHART_REACH)
COARSE_PX = 104  # side of the charts of smooth quantities, such as the skin displacement of an expression
FACE_HALF_WIDTH = 0.74  # of the reference head, in face units; wider heads stretch the features


@dataclass(frozen=True)
class FaceTraits:
    """The facial traits that identify a person, which a face swap transfers. Lengths are in face units."""

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
    """Hair style and outline. Lengths are in face units."""

    style: str
    colour: tuple[float, float, float]
    hairline: float  # y at its middle
    temple: float  # how fast the hairline drops towards the sides
    parting: float
    volume: float
    length: float  # y of the lower end of the hair behind the head; none if it is 0 or less
    curl: float
    texture_seed: int


@dataclass(frozen=True)
class FaceChart:
    """Texture charts of one face."""

    albedo: Array  # (h, w, 3)
    relief: Array  # (h, w, 4): unit normal in the head's frame, gloss
    height: Array  # (coarse, coarse)


@dataclass(frozen=True)
class Sphere:
    """The point on the unit sphere of every chart pixel, and the tangents along chart x and y."""

    points: Array  # (h, w, 3)
    along_x: Array
    along_y: Array
    scale: Array  # length on the sphere per length on the chart, (h, w)
    x: Array  # face units, (h, w)
    y: Array


@lru_cache(maxsize=1)
def chart_sphere() -> Sphere:
    """Map every pixel of the chart to the unit sphere."""
    axis = ((np.arange(CHART_PX) + 0.5) / PX_PER_UNIT - CHART_REACH).astype(np.float32)
    u, v = np.meshgrid(axis, axis)
    scale = 4 / (4 + u * u + v * v)
    z = 2 * scale - 1
    points = np.stack([u * scale, v * scale, z], -1)
    along_x = np.stack([1 - u * u * scale / 2, -u * v * scale / 2, -u * scale], -1)
    along_y = np.stack([-u * v * scale / 2, 1 - v * v * scale / 2, -v * scale], -1)
    return Sphere(points, along_x, along_y, scale, points[..., 0] * FACE_HALF_WIDTH, points[..., 1])


def gaussian_bump(x: Array, y: Array, centre: tuple[float, float], size: tuple[float, float]) -> Array:
    """exp(-dx^2 - dy^2), with the distance from the centre in units of `size`."""
    return np.exp(-(((x - centre[0]) / size[0]) ** 2) - ((y - centre[1]) / size[1]) ** 2)


def smoothstep(value: Array, low: float, high: float) -> Array:
    """Interpolate smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def smooth_noise(rng: Generator, cells: int, size: int = CHART_PX) -> Array:
    """Smooth noise of standard deviation about 1, interpolated from `cells` x `cells` random values."""
    return cv2.resize(rng.standard_normal((cells, cells), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def blend(under: Array, over: tuple[float, float, float] | Array, share: Array) -> Array:
    """Blend `over` onto `under` with opacity `share`."""
    return under + (np.asarray(over, np.float32) - under) * share[..., None]


def paint_face(face: FaceTraits) -> FaceChart:
    sphere = chart_sphere()
    rng = np.random.default_rng([face.texture_seed, 1])
    side = np.abs(sphere.x)
    front = smoothstep(sphere.points[..., 2], -0.2, 0.3)
    height = face_height(face, side, sphere.y) * front
    pores = cv2.GaussianBlur(smooth_noise(rng, CHART_PX), (0, 0), 0.7)
    normal = surface_normals(sphere, height + 0.0009 * pores)
    gloss = 0.25 + 0.5 * front * (
        gaussian_bump(side, sphere.y, (0, 0.33), (0.09, 0.1))
        + 0.7 * gaussian_bump(side, sphere.y, (0, -0.4), (0.3, 0.15))
        + 0.5 * gaussian_bump(side, sphere.y, (0.36, 0.14), (0.13, 0.08))
    )
    hollow = np.clip(5.5 * (cv2.GaussianBlur(height, (0, 0), 6) - height), 0, 0.5)  # ambient occlusion
    albedo = paint_skin(face, rng, side, sphere.y, front)
    albedo = blend(albedo, albedo * np.array([0.42, 0.34, 0.33], np.float32), hollow)
    albedo = paint_brows(face, rng, albedo, side, sphere.y, front)
    albedo = paint_beard(face, rng, albedo, side, sphere.y, front)
    relief = np.dstack([normal, gloss * (1 + 0.2 * pores)])
    coarse = cv2.resize(height, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    return FaceChart(np.ascontiguousarray(albedo, np.float32), np.ascontiguousarray(relief, np.float32), coarse)


def face_height(face: FaceTraits, side: Array, y: Array) -> Array:
    """Height of the skin above the sphere. It is symmetric: `side` is the distance from the middle line."""
    tip = 0.36 * face.nose_length
    along = smoothstep(y, -0.16, tip) * (1 - smoothstep(y, tip + 0.01, tip + 0.1))
    bridge = along * np.exp(-((side / (0.055 + 0.04 * along)) ** 2)) * 0.16
    ball = 0.07 * gaussian_bump(side, y, (0, tip), (0.075 * face.nose_width, 0.075))
    wings = 0.065 * gaussian_bump(side, y, (0.105 * face.nose_width, tip + 0.045), (0.045, 0.05))
    sockets = -0.075 * gaussian_bump(side, y, (face.eye_x - 0.02, -0.03), (0.17, 0.1))
    eyeballs = 0.05 * gaussian_bump(side, y, (face.eye_x, 0.0), (0.11, 0.07))
    brows = 0.035 * gaussian_bump(side, y, (0.26, -0.17), (0.26, 0.08))
    cheeks = 0.06 * face.cheekbones * gaussian_bump(side, y, (0.4, 0.2), (0.17, 0.13))
    fold = np.exp(-(((side - 0.15 - 0.45 * (y - tip)) / 0.03) ** 2)) * gaussian_bump(side, y, (0.23, 0.5), (0.2, 0.14))
    fold *= -0.02 * face.age
    muzzle = 0.05 * gaussian_bump(side, y, (0, face.mouth_y), (0.24, 0.14))
    philtrum = -0.014 * gaussian_bump(side, y, (0, face.mouth_y - 0.12), (0.022, 0.05))
    under_lip = -0.035 * gaussian_bump(side, y, (0, face.mouth_y + 0.15), (0.13, 0.035))
    chin = 0.06 * face.chin * gaussian_bump(side, y, (0, face.mouth_y + 0.28), (0.13, 0.09))
    temples = -0.04 * gaussian_bump(side, y, (0.68, -0.2), (0.12, 0.25))
    nose = face.nose_height * (bridge + ball + wings)
    return nose + sockets + eyeballs + brows + cheeks + fold + muzzle + philtrum + under_lip + chin + temples


def surface_normals(sphere: Sphere, height: Array) -> Array:
    """Unit normals of the sphere displaced by the height."""
    slope_y, slope_x = np.gradient(height * PX_PER_UNIT)
    tilt = slope_x[..., None] * sphere.along_x + slope_y[..., None] * sphere.along_y
    normal = sphere.points - tilt / sphere.scale[..., None]
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def paint_skin(face: FaceTraits, rng: Generator, side: Array, y: Array, front: Array) -> Array:
    skin = np.asarray(face.skin, np.float32)
    tip = 0.36 * face.nose_length
    mottle = 1 + 0.025 * smooth_noise(rng, 14) + 0.02 * smooth_noise(rng, 60) + 0.015 * smooth_noise(rng, 190)
    albedo = skin * mottle[..., None]
    red = (
        face.blush
        * front
        * (
            0.6 * gaussian_bump(side, y, (0.38, 0.27), (0.17, 0.13))
            + 0.5 * gaussian_bump(side, y, (0, tip), (0.1, 0.08))
            + 0.25 * gaussian_bump(side, y, (0, face.mouth_y + 0.28), (0.12, 0.08))
        )
    )
    albedo = blend(albedo, skin * (1.02, 0.68, 0.66), np.clip(red, 0, 1))
    tired = 0.5 * gaussian_bump(side, y, (face.eye_x - 0.1, 0.02), (0.1, 0.07))
    tired += 0.4 * gaussian_bump(side, y, (face.eye_x, 0.075), (0.14, 0.03))
    albedo = blend(albedo, skin * (0.7, 0.58, 0.62), np.clip(front * tired * (0.5 + 0.5 * face.age), 0, 1))
    spots = smoothstep(smooth_noise(rng, 150) + 0.5 * gaussian_bump(side, y, (0.25, 0.18), (0.3, 0.14)), 1.75, 2.3) * front
    albedo = blend(albedo, skin * (0.66, 0.5, 0.42), face.freckles * spots)
    nostril = gaussian_bump(side, y, (0.052 * face.nose_width, tip + 0.078), (0.03, 0.014)) * front
    crease = 0.5 * np.exp(-(((np.hypot(side - 0.1 * face.nose_width, y - tip - 0.04) - 0.056) / 0.012) ** 2))
    crease = crease * front * smoothstep(side, 0.1, 0.13) * smoothstep(y, tip - 0.02, tip + 0.04)
    albedo = blend(albedo, skin * (0.1, 0.05, 0.05), np.clip(1.1 * nostril + 0.35 * crease, 0, 0.85))
    return paint_wrinkles(face, albedo, side, y, front)


def paint_wrinkles(face: FaceTraits, albedo: Array, side: Array, y: Array, front: Array) -> Array:
    tip = 0.36 * face.nose_length
    smile = np.exp(-(((side - 0.15 - 0.42 * (y - tip)) / 0.018) ** 2)) * gaussian_bump(side, y, (0.22, 0.48), (0.2, 0.1))
    brow = np.exp(-(((np.sin(26 * (y + 0.03 * np.cos(5 * side)))) / 0.3) ** 2)) * gaussian_bump(side, y, (0, -0.42), (0.3, 0.1))
    crow = np.exp(-(((np.sin(34 * (y - 0.5 * (side - 0.5)))) / 0.3) ** 2))
    crow *= gaussian_bump(side, y, (face.eye_x + 0.22, 0.0), (0.05, 0.07))
    lines = np.clip(0.5 * smile + 0.35 * brow + 0.4 * crow, 0, 1) * front * max(face.age - 0.25, 0) * 0.6
    return blend(albedo, np.asarray(face.skin, np.float32) * 0.4, lines)


def paint_brows(face: FaceTraits, rng: Generator, albedo: Array, side: Array, y: Array, front: Array) -> Array:
    along = (side - face.eye_x + 0.15) / 0.36  # 0 at the inner end, 1 at the outer
    arch = face.brow_arch * np.sin(np.pi * np.clip(0.08 + 0.72 * along, 0, 1))
    middle = -0.165 - face.brow_lift - arch + 0.03 * along
    half = face.brow_thickness * smoothstep(along, -0.1, 0.12) * (1.05 - 0.75 * np.clip(along, 0, 1))
    strands = cv2.GaussianBlur(smooth_noise(rng, 300), (0, 0), 0.6) * 0.35
    body = smoothstep(half - np.abs(y - middle) + 0.008 * strands, -0.012, 0.022)
    body *= smoothstep(along, -0.12, 0.1) * (1 - smoothstep(along, 0.9, 1.1))
    return blend(albedo, face.brow, np.clip(body * (0.95 + 0.3 * strands), 0, 0.95) * front)


def paint_beard(face: FaceTraits, rng: Generator, albedo: Array, side: Array, y: Array, front: Array) -> Array:
    """Paint stubble as a bluish shade of the skin and a beard as hair; both leave out the lips."""
    cheek = smoothstep(y - 0.28 - 0.5 * np.maximum(0.42 - side, 0) + 0.16 * smoothstep(side, 0.5, 0.7), 0.0, 0.12)
    lip = gaussian_bump(side, y, (0, face.mouth_y + 0.025), (face.mouth_width * 0.9, 0.05))
    moustache = gaussian_bump(side, y - 0.25 * side, (0.1, face.mouth_y - 0.105), (0.17, 0.055))
    zone = np.clip(np.maximum(cheek * smoothstep(y + 0.25 * side, 0.52, 0.68), moustache * 1.2) - 1.2 * lip, 0, 1)
    shade = np.asarray(face.skin, np.float32) * (0.55, 0.55, 0.62)
    albedo = blend(albedo, shade, np.clip(zone * face.stubble * (0.7 + 0.3 * smooth_noise(rng, 240)), 0, 0.8))
    strands = cv2.GaussianBlur(smooth_noise(rng, 260), (0, 0), sigmaX=0.6, sigmaY=1.4)
    coverage = np.clip(smoothstep(zone + 0.12 * strands, 0.25, 0.6) * face.beard, 0, 0.95)
    hair = np.asarray(face.brow, np.float32) * (1 + 0.45 * strands[..., None])
    return blend(albedo, np.clip(hair, 0.002, 1), coverage)


def paint_hair(hair: Hair) -> Array:
    """Paint the hair chart, (h, w, 3): coverage, brightness of the strands, and inward shift of the outline (face units)."""
    sphere = chart_sphere()
    rng = np.random.default_rng([hair.texture_seed, 2])
    x, y = sphere.points[..., 0], sphere.points[..., 1]
    strands = hair_strands(hair, rng, x, y)
    back = smoothstep(-sphere.points[..., 2], -0.2, 0.15) * (y < 0.3 + 0.08 * strands)
    coverage = np.maximum(smoothstep(hairline(hair, x, strands) - y, -0.012, 0.035), back)
    if hair.length > 0:
        side_hair = smoothstep(np.abs(x) + 0.015 * strands - 0.03 * np.sin(4 * y + hair.parting), 0.8, 0.86) * (y > -0.5)
        coverage = np.maximum(coverage, side_hair)
    notches = hair.curl**2 * 0.035 * np.clip(0.7 + 0.7 * smooth_noise(rng, 24), 0, 2)
    shade = np.clip(0.8 + 0.2 * strands + 0.08 * smooth_noise(rng, 9), 0.25, 1.6)
    return np.dstack([coverage, shade, notches]).astype(np.float32)


def hairline(hair: Hair, x: Array, strands: Array) -> Array:
    """The y down to which hair covers the forehead and the temples."""
    if hair.style == "fringe":
        return hair.hairline + 0.35 * smoothstep(np.abs(x), 0.5, 0.8) + 0.05 * strands
    if hair.length > 0:  # the hair falls to both sides of the parting
        return hair.hairline - 0.06 + (0.75 + 0.5 * hair.temple) * np.abs(x - 0.3 * hair.parting) ** 1.5 + 0.02 * strands
    sides = 0.6 * smoothstep(np.abs(x), 0.62, 0.92) - 0.1 * hair.temple * np.exp(-(((np.abs(x) - 0.45) / 0.14) ** 2))
    sweep = 0.2 * hair.parting * x if hair.style == "swept" else 0 * x
    return hair.hairline + 0.4 * hair.temple * x**2 + sides + sweep + 0.025 * strands


def hair_strands(hair: Hair, rng: Generator, x: Array, y: Array) -> Array:
    """Noise stretched along the direction in which hair falls from the crown or the parting."""
    if hair.curl > 0.8:
        return cv2.GaussianBlur(smooth_noise(rng, 90) + 0.9 * smooth_noise(rng, 45), (0, 0), 1)
    parted = 1.0 if hair.style in ("swept", "long", "bob") else 0.35
    dx, dy = x - 0.45 * parted * hair.parting, y + (1.02 if parted == 1.0 else 1.3)
    angle, radius = np.arctan2(dx, dy), np.hypot(dx, dy)
    wave = hair.curl * 0.1 * np.sin(9 * radius + 3 * angle)
    across = ((angle + wave + np.pi) / (2 * np.pi) * CHART_PX).astype(np.float32)
    along = (radius * (14 + 30 * hair.curl)).astype(np.float32)
    noise = 0.7 * smooth_noise(rng, 260) + 0.7 * smooth_noise(rng, 90)
    return cv2.remap(noise, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
