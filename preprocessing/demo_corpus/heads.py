"""Render a face: visible surface point, albedo and shading of each pixel.

The faces are synthetic; no photograph is used. A head is a unit sphere that the projection stretches and tapers.
`HeadView` holds the visible point of the sphere for every pixel of a window of the picture. The person's charts
(`face_charts`) give the albedo and normal of the skin at that point. Eyes and mouth change their shape with the
expression, so they are drawn directly into the window.

Colour arrays hold linear light: pixel = 255 * sqrt(light).
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.demo_corpus.face_charts import (
    CHART_PX,
    CHART_REACH,
    COARSE_PX,
    FACE_HALF_WIDTH,
    PX_PER_UNIT,
    Array,
    FaceChart,
    FaceTraits,
    chart_sphere,
    gaussian_bump,
    smoothstep,
)
from explain_deepfakes.preprocessing.demo_corpus.people import Colour, DrawnPerson, Expression, HeadShape, Pose
from explain_deepfakes.preprocessing.demo_corpus.scenery import Light

WRAP_LIGHTING = np.array([0.42, 0.26, 0.2], np.float32)  # subsurface scattering: light bleeds into shadows, red most


@dataclass(frozen=True)
class HeadView:
    """The visible point of the head for every pixel of a window of the picture."""

    rows: slice
    columns: slice
    pose: Pose
    rotation: Array  # head frame to camera frame, without roll
    flat_x: Array  # image plane with the roll removed, face units from the head's centre
    flat_y: Array
    coverage: Array  # fraction of the pixel that the head covers
    point: Array  # (h, w, 3) on the unit sphere, head frame
    x: Array  # of the point, in face units
    y: Array

    @property
    def pixel(self) -> float:
        """Side of a pixel in face units."""
        return 1 / self.pose.unit_px

    def crop(self, rows: slice, columns: slice) -> "HeadView":
        """Restrict the view to a smaller window, given relative to this window's corner."""

        def cut(array: Array) -> Array:
            return np.ascontiguousarray(array[rows, columns])

        return replace(
            self,
            rows=shift_slice(rows, self.rows.start),
            columns=shift_slice(columns, self.columns.start),
            flat_x=cut(self.flat_x),
            flat_y=cut(self.flat_y),
            coverage=cut(self.coverage),
            point=cut(self.point),
            x=cut(self.x),
            y=cut(self.y),
        )


def shift_slice(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def rotation_matrix(yaw: float, pitch: float) -> Array:
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])  # pitch > 0 looks down
    return (turn @ nod).astype(np.float32)


def upright_coordinates(pose: Pose, rows: slice, columns: slice) -> tuple[Array, Array]:
    """Coordinates of a window's pixels relative to the head, in face units, with its roll removed."""
    c, s = math.cos(pose.roll) / pose.unit_px, math.sin(pose.roll) / pose.unit_px
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None] + np.float32(0.5 - pose.x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5 - pose.y)
    return np.float32(c) * dx + np.float32(s) * dy, np.float32(c) * dy - np.float32(s) * dx


def head_window(pose: Pose, size: tuple[int, int], reach: tuple[float, float, float]) -> tuple[slice, slice]:
    """Rows and columns within `reach` face units (up, down, sideways) of the head, in a picture of `size` (h, w)."""

    def clip(low: float, high: float, end: int) -> slice:
        start = int(np.clip(np.floor(low), 0, end))
        return slice(start, int(np.clip(np.ceil(high), start, end)))

    rows = clip(pose.y - reach[0] * pose.unit_px, pose.y + reach[1] * pose.unit_px, size[0])
    return rows, clip(pose.x - reach[2] * pose.unit_px, pose.x + reach[2] * pose.unit_px, size[1])


def view_head(head: HeadShape, pose: Pose, mouth_open: float, window: tuple[slice, slice]) -> HeadView:
    """Compute the view of a head in the given pose within a window of the picture."""
    rows, columns = window
    flat_x, flat_y = upright_coordinates(pose, rows, columns)
    rotation = rotation_matrix(pose.yaw, pose.pitch)
    drop = 0.07 * mouth_open * smoothstep(flat_y, 0.45, 0.95)  # the jaw drops
    low = smoothstep(flat_y, 0.05, 1.0)
    shape = 1 - head.jaw * low + head.square * np.exp(-(((flat_y - 0.72) / 0.22) ** 2))
    deep = 1 + 0.1 * math.sin(pose.yaw) ** 2  # a head is deeper than wide
    point, coverage = visible_sphere_points(flat_x / (head.half_width * deep * shape), flat_y - drop, pose.unit_px, rotation)
    x, y = point[..., 0] * FACE_HALF_WIDTH, point[..., 1]
    return HeadView(rows, columns, pose, rotation, flat_x, flat_y, coverage, point, x, y)


def visible_sphere_points(x: Array, y: Array, unit_px: float, rotation: Array) -> tuple[Array, Array]:
    """Visible points of the rotated unit sphere at (x, y), in the head frame, and its coverage of each pixel."""
    square = x * x + y * y
    z = np.sqrt(np.maximum(1 - square, 0))
    coverage = np.clip((1 - np.sqrt(square)) * (0.85 * unit_px) + 0.5, 0, 1)
    return np.stack([x, y, z], -1) @ rotation, coverage


def chart_coordinates(point: Array) -> tuple[Array, Array]:
    """Chart pixel coordinates x and y of points of the sphere."""
    scale = (2 * PX_PER_UNIT) / np.maximum(1 + point[..., 2], 0.05)
    middle = CHART_PX / 2 - 0.5
    return point[..., 0] * scale + middle, point[..., 1] * scale + middle


@lru_cache(maxsize=1)
def expression_fields() -> tuple[Array, Array]:
    """Skin displacements along x and y in chart pixels, for brows_up, frown, smile and pucker at full strength."""
    sphere = chart_sphere()
    x, y, side = sphere.x, sphere.y, np.abs(sphere.x)
    sign = np.tanh(x / 0.05)
    brow = gaussian_bump(side, y, (0.26, -0.2), (0.3, 0.13))
    inner = gaussian_bump(side, y, (0.14, -0.18), (0.14, 0.1))
    corner = gaussian_bump(side, y, (0.3, 0.55), (0.2, 0.2))
    cheek = gaussian_bump(side, y, (0.38, 0.3), (0.2, 0.2))
    along_x = [0 * x, 0.035 * inner * sign, -0.04 * corner * sign, 0.05 * corner * sign]
    along_y = [0.06 * brow, -0.035 * inner, 0.035 * corner + 0.03 * cheek, 0 * x]
    return coarse_fields(along_x), coarse_fields(along_y)


def coarse_fields(fields: list[Array]) -> Array:
    return np.stack([cv2.resize(f.astype(np.float32) * PX_PER_UNIT, (COARSE_PX, COARSE_PX)) for f in fields])


def skin_shift(chart: FaceChart, expression: Expression, view: HeadView, to_light: Array) -> Array:
    """(coarse, coarse, 3): displacement of the skin along x and y in chart pixels, and cast shadow (0 to 1)."""
    fields_x, fields_y = expression_fields()
    weights = np.array([expression.brows_up, expression.frown, expression.smile, expression.pucker], np.float32)
    to_viewer = view.rotation[2]  # in the head frame
    parallax = chart.height * (PX_PER_UNIT / max(float(to_viewer[2]), 0.3))
    shift_x = np.tensordot(weights, fields_x, 1) + to_viewer[0] * parallax
    shift_y = np.tensordot(weights, fields_y, 1) + to_viewer[1] * parallax
    return np.dstack([shift_x, shift_y, cast_shadow(chart.height, to_light)])


def cast_shadow(height: Array, to_light: Array) -> Array:
    """Soft shadow: how far the surface towards the light rises above the light ray."""
    shadow = np.zeros_like(height)
    rise = max(float(to_light[2]), 0.25)
    for distance in (0.05, 0.1, 0.16):
        step = distance * COARSE_PX / (2 * CHART_REACH)
        move = np.array([[1, 0, to_light[0] * step], [0, 1, to_light[1] * step]], np.float32)
        over = cv2.warpAffine(height, move, height.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        shadow = np.maximum(shadow, over - height - 0.45 * distance * rise)
    return cv2.GaussianBlur(np.clip(shadow * 11, 0, 0.75), (0, 0), 0.8)


def draw_head(person: DrawnPerson, expression: Expression, view: HeadView, light: Light) -> Array:
    """Render the face without hair in the view's window, as light. Values outside of the head are undefined."""
    face, chart = person.face, person.face_chart
    to_light = view.rotation.T @ light.direction
    map_x, map_y = chart_coordinates(view.point)
    coarse = skin_shift(chart, expression, view, to_light)
    ratio = np.float32(COARSE_PX / CHART_PX)
    shift = cv2.remap(coarse, map_x * ratio, map_y * ratio, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    map_x, map_y = map_x + shift[..., 0], map_y + shift[..., 1]
    albedo = cv2.remap(chart.albedo, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    relief = cv2.remap(chart.relief, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    for side in (-1, 1):
        draw_eye(albedo, relief[..., 3], view, face, expression, side)
    draw_mouth(albedo, relief[..., 3], view, face, expression)
    return shade_skin(albedo, relief, shift[..., 2], view, light, to_light)


def shade_skin(albedo: Array, relief: Array, shadow: Array, view: HeadView, light: Light, to_light: Array) -> Array:
    """Light reflected by the skin: wrapped diffuse key light, fill, ambient and specular highlight."""
    to_viewer = view.rotation[2]
    half = to_light + to_viewer
    fill = view.rotation.T @ light.fill_direction
    dots = relief[..., :3] @ np.stack([to_light, fill, half / np.linalg.norm(half), to_viewer], 1)
    lit = (1 - shadow)[..., None]
    facing = np.maximum(dots[..., 3:4], 0)
    key = np.maximum((dots[..., :1] + WRAP_LIGHTING) / (1 + WRAP_LIGHTING), 0) * (lit * (0.78 + 0.22 * facing))
    bounce = np.maximum(0.5 + 0.5 * dots[..., 1:2], 0)
    colour = albedo * (key * light.key + bounce * light.fill + light.ambient * (0.4 + 0.6 * facing))
    shine = np.maximum(dots[..., 2], 0)
    for _ in range(4):  # 16th power; np.power is ten times slower
        shine *= shine
    shine *= relief[..., 3] * (1 - shadow)
    return colour + (0.16 * shine)[..., None] * light.key


def feature_box(view: HeadView, x: float, y: float, reach: float) -> tuple[slice, slice] | None:
    """The box of the view's window within `reach` face units of the point (x, y) of the face, None if it is empty."""
    nx = x / FACE_HALF_WIDTH
    projected = view.rotation @ np.array([nx, y, math.sqrt(max(1 - nx * nx - y * y, 0))], np.float32)
    return box_around(view, float(projected[0]) * FACE_HALF_WIDTH, float(projected[1]), reach)


def box_around(view: HeadView, flat_x: float, flat_y: float, reach: float) -> tuple[slice, slice] | None:
    """The same for a point (flat_x, flat_y) of the image plane with the roll removed."""
    height, width = view.x.shape
    c, s = math.cos(view.pose.roll), math.sin(view.pose.roll)
    column = view.pose.x + (c * flat_x - s * flat_y) * view.pose.unit_px - view.columns.start
    row = view.pose.y + (s * flat_x + c * flat_y) * view.pose.unit_px - view.rows.start
    span = reach * view.pose.unit_px
    top, bottom = (min(max(int(v), 0), height) for v in (row - span * 0.8, row + span * 0.8))
    left, right = (min(max(int(v), 0), width) for v in (column - span, column + span))
    return (slice(top, bottom), slice(left, right)) if bottom > top and right > left else None


def blend_into(albedo: Array, colour: Array | Colour, coverage: Array) -> None:
    """Blend the colour into the albedo in place."""
    albedo += (np.asarray(colour, np.float32) - albedo) * np.clip(coverage, 0, 1)[..., None]


def draw_eye(albedo: Array, gloss: Array, view: HeadView, face: FaceTraits, expression: Expression, side: int) -> None:
    box = feature_box(view, side * face.eye_x, 0, 0.3)
    if box is None:
        return
    skin, pixel = albedo[box], view.pixel
    dx, dy = view.x[box] * side - face.eye_x, view.y[box]
    along = dx * math.cos(face.eye_slant) - dy * math.sin(face.eye_slant)  # towards the temple
    down = dy * math.cos(face.eye_slant) + dx * math.sin(face.eye_slant)
    across = np.clip(along / face.eye_width, -1, 1)
    bulge = np.sqrt(1 - across**2)
    squint = 1 - 0.18 * max(expression.smile, 0)
    top = -face.eye_height * bulge * (1 + 0.12 * expression.brows_up) * (1 - 0.15 * across)
    bottom = 0.62 * face.eye_height * squint * bulge * (1 + 0.15 * across)
    lid = bottom + (top - bottom) * min(expression.eyes_open, 1.05)
    inside = np.clip(np.minimum(down - lid, bottom - down) / pixel + 0.5, 0, 1) * (np.abs(along) < face.eye_width)
    blend_into(skin, eyeball(along, down, down - lid, face, expression, side, pixel), inside)
    gloss[box] *= 1 - inside
    ends = smoothstep(1.12 - np.abs(along / face.eye_width), 0, 0.12)
    lash_px = 0.010 + 0.009 * face.lashes * (1 + 0.6 * across)
    blend_into(skin, (0.012, 0.008, 0.007), ends * 0.92 * np.exp(-(((down - lid + 0.004) / lash_px) ** 2)))
    blend_into(skin, skin * 0.4, ends * 0.6 * np.exp(-(((down - bottom - 0.004) / 0.012) ** 2)))
    crease = top - face.lid_crease * (0.8 + 0.5 * bulge) * min(expression.eyes_open, 1.0)
    blend_into(skin, skin * (0.5, 0.38, 0.36), ends * 0.55 * np.exp(-(((down - crease) / 0.013) ** 2)))


def eyeball(
    along: Array, down: Array, below_lid: Array, face: FaceTraits, expression: Expression, side: int, pixel: float
) -> Array:
    """Colour of the eyeball: white, iris, pupil, shadow of the lid and glint."""
    white = np.array([0.80, 0.76, 0.73], np.float32) * (1 - 0.3 * (along / face.eye_width) ** 2)[..., None]
    iris_x = along - 0.05 * expression.gaze_x * side
    iris_y = down - 0.022 * expression.gaze_y + 0.006
    distance = np.hypot(iris_x, iris_y)
    radius = 0.072
    rays = 1 + 0.25 * np.sin(11 * np.arctan2(iris_y, iris_x))
    glow = (0.75 + 0.9 * np.clip(distance / radius, 0, 1) ** 2 + 0.5 * np.clip(iris_y / radius, 0, 1)) * rays
    blend_into(white, np.asarray(face.iris, np.float32) * glow[..., None], (radius - distance) / pixel + 0.5)
    blend_into(white, (0.008, 0.006, 0.006), 0.75 * np.exp(-(((distance - radius) / 0.012) ** 2)))
    blend_into(white, (0.004, 0.004, 0.004), (0.029 - distance) / pixel + 0.5)
    white *= (1 - 0.6 * np.exp(-np.maximum(below_lid, 0) / 0.022))[..., None]
    glint = np.hypot(iris_x + 0.02 * side, iris_y + 0.026)
    blend_into(white, (1.5, 1.5, 1.5), (0.014 - glint) / pixel + 0.5)
    return white


def draw_mouth(albedo: Array, gloss: Array, view: HeadView, face: FaceTraits, expression: Expression) -> None:
    box = feature_box(view, 0, face.mouth_y + 0.03, 0.42)
    if box is None:
        return
    skin, pixel = albedo[box], view.pixel
    half = face.mouth_width * (1 + 0.16 * expression.smile - 0.3 * expression.pucker)
    across = np.clip(view.x[box] / half, -1, 1)
    bulge = 1 - across**2
    line = face.mouth_y + 0.012 - (0.012 + 0.045 * expression.smile) * across**2 + 0.006 * np.cos(5 * across)
    gap = 0.085 * expression.mouth_open
    upper_in, lower_in = line - 0.25 * gap * bulge, line + 0.75 * gap * np.sqrt(bulge)
    full = 1 + 0.35 * expression.pucker - 0.2 * max(expression.smile, 0)
    bow = 0.82 + 0.28 * np.exp(-(((np.abs(across) - 0.22) / 0.16) ** 2)) - 0.1 * np.exp(-((across / 0.12) ** 2))
    upper_out = upper_in - face.upper_lip * full * bow * bulge**0.75
    lower_out = lower_in + face.lower_lip * full * bulge**0.6
    y = view.y[box]
    within = np.abs(view.x[box]) < half
    draw_lips(skin, gloss[box], y, (upper_out, upper_in, lower_in, lower_out), face, pixel, within)
    inside = np.clip(np.minimum(y - upper_in, lower_in - y) / pixel + 0.5, 0, 1) * np.clip(gap * bulge / (0.6 * pixel), 0, 1)
    blend_into(skin, mouth_inside(y - upper_in, across, gap), inside * within)
    side = np.abs(view.x[box])
    seam = np.exp(-(((y - 0.5 * (upper_in + lower_in)) / 0.011) ** 2)) * smoothstep(1.08 - side / half, 0, 0.1)
    blend_into(skin, np.asarray(face.lips, np.float32) * 0.13, 0.85 * seam * (1 - min(gap / 0.04, 1)))
    corner = half, float(line.min()) + 0.035 - 0.035 * expression.smile
    blend_into(skin, skin * 0.5, 0.6 * gaussian_bump(side, y, corner, (0.02, 0.02)))


def draw_lips(
    skin: Array, gloss: Array, y: Array, edges: tuple[Array, ...], face: FaceTraits, pixel: float, within: NDArray[np.bool_]
) -> None:
    upper_out, upper_in, lower_in, lower_out = edges
    soft = 2.2 * pixel
    lips = np.asarray(face.lips, np.float32)
    upper = np.clip(np.minimum(y - upper_out, upper_in - y) / soft + 0.5, 0, 1) * within
    lower = np.clip(np.minimum(y - lower_in, lower_out - y) / soft + 0.5, 0, 1) * within
    blend_into(skin, lips * 0.72, 0.9 * upper)
    depth = (y - lower_in) / np.maximum(lower_out - lower_in, 0.01)
    blend_into(skin, lips * (1.12 - 0.3 * depth)[..., None], 0.88 * lower)
    gloss += 0.5 * lower * np.exp(-(((depth - 0.4) / 0.25) ** 2))


def mouth_inside(below: Array, across: Array, gap: float) -> Array:
    """Colour of the open mouth: teeth below the upper lip, then a dark cavity and the tongue."""
    colour = np.empty((*below.shape, 3), np.float32)
    colour[:] = (0.05, 0.012, 0.012)
    blend_into(colour, (0.3, 0.09, 0.08), 0.7 * smoothstep(below, 0.55 * gap, 1.1 * gap) * (1 - across**2))
    tooth = 0.9 + 0.1 * np.cos(across * 26)
    white = np.array([0.72, 0.68, 0.6], np.float32) * tooth[..., None]
    blend_into(colour, white, smoothstep(0.034 - below, 0, 0.012) * (1 - across**4))
    return colour
