"""Draws a person into a picture: `draw_take` lays backdrop, hair, body, head and glasses over one another.

A `Take` keeps what lies behind the head, so that the same moment can be drawn again with another face or another
expression (`redraw_head`) without drawing everything anew. That is what the manipulations start from.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from preprocessing.demo_corpus.face_charts import FACE_HALF_WIDTH, Array, Hair, ramp
from preprocessing.demo_corpus.heads import (
    HeadView,
    box_around,
    chart_maps,
    draw_head,
    sphere_behind,
    upright_plane,
    view_head,
    window_of,
)
from preprocessing.demo_corpus.people import Expression, Glasses, Person, Pose
from preprocessing.demo_corpus.scenery import MARGIN_PX, Light, Scene

HEAD_REACH = (1.35, 1.2, 1.05)  # up, down and sideways, face units: all but hair that hangs behind the head
BACKWARDS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # a matrix says where each pixel is fetched from
BODY_REACH_PX = 24  # further than a body moves in a video


@dataclass(frozen=True)
class Figure:
    """A person as one scene shows them: the body is painted once and only moved."""

    person: Person
    body: Array  # (h, w, 4): pixel values times cover, and cover; drawn for `home`
    home: Pose


@dataclass(frozen=True)
class Take:
    """One moment of a performance, drawn."""

    figure: Figure
    expression: Expression
    view: HeadView
    light: Light
    behind: Array  # the view's window before the head was laid over it
    picture: Array  # (h, w, 3) pixel values, before the camera


def to_pixels(light: Array) -> Array:
    return np.float32(255) * np.sqrt(np.clip(light, 0, 1))


def place_figure(person: Person, home: Pose, scene: Scene) -> Figure:
    return Figure(person, paint_body(person, home, scene), home)


def draw_backdrop(scene: Scene, shake: tuple[float, float]) -> Array:
    move = np.array([[1, 0, MARGIN_PX - shake[0]], [0, 1, MARGIN_PX - shake[1]]], np.float32)
    return cv2.warpAffine(scene.backdrop, move, (scene.width, scene.height), flags=BACKWARDS)


def draw_take(picture: Array, figure: Figure, pose: Pose, expression: Expression, light: Light) -> Take:
    """Lays the person over the picture, in place. The pose is where the camera sees the head, its shake included."""
    person = figure.person
    window = window_of(pose, size_of(picture), HEAD_REACH)
    view = view_head(person.head, pose, expression.mouth_open, window)
    if person.hair.length > 0:
        lay_back_hair(picture, person.hair, pose, light)
    lay_body(picture, figure, pose)
    behind = picture[view.rows, view.columns].copy()
    take = Take(figure, expression, view, light, behind, picture)
    picture[view.rows, view.columns] = redraw_head(take, person, expression, view)
    return take


def redraw_head(take: Take, person: Person, expression: Expression, view: HeadView) -> Array:
    """The view's window, which lies in the take's, as it would be with this person and expression. Pixel values."""
    top, left = view.rows.start - take.view.rows.start, view.columns.start - take.view.columns.start
    window = take.behind[top : top + view.x.shape[0], left : left + view.x.shape[1]].copy()
    if window.size == 0:
        return window
    for side in (-1, 1):
        lay_ear(window, person, view, take.light, side, in_front=False)
    lay_over(window, to_pixels(draw_head(person, expression, view, take.light)), view.cover)
    for side in (-1, 1):
        lay_ear(window, person, view, take.light, side, in_front=True)
    lay_hair(window, person, view, take.light)
    if person.glasses:
        lay_glasses(window, person.glasses, person.face.eye_x, view, take.light)
    return window


def size_of(picture: Array) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]


def lay_over(picture: Array, colour: Array, cover: Array) -> None:
    picture += (colour - picture) * cover[..., None]


def hair_axes(person: Person) -> tuple[float, float]:
    return person.head.half_width * (1.06 + person.hair.volume), 1.05 + 0.75 * person.hair.volume


def lay_hair(window: Array, person: Person, view: HeadView, light: Light) -> None:
    hair, pixel_size = person.hair, view.pose.unit_px
    wide, tall = hair_axes(person)
    deep = 1 + 0.1 * math.sin(view.pose.yaw) ** 2
    flat_x, flat_y = view.flat_x / (wide * deep), (view.flat_y + 0.035) / tall
    point, inside = sphere_behind(flat_x, flat_y, pixel_size, view.rotation)
    chart = cv2.remap(person.hair_chart, *chart_maps(point), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    edge = 1 - np.sqrt(flat_x**2 + flat_y**2) - chart[..., 2]
    beside = (1 - view.cover) * ramp(-view.flat_y, -0.05, 0.1)  # what shows beside the head hangs behind its rim
    cover = np.clip(edge * (0.5 * pixel_size) + 0.5, 0, 1) * inside * np.maximum(np.clip(chart[..., 0], 0, 1), beside)
    if hair.style == "cropped":  # the scalp shows through
        cover *= np.float32(0.8) * view.cover
    covered = np.flatnonzero(cover.any(1))
    if len(covered):
        rows = slice(covered[0], covered[-1] + 1)
        colour = to_pixels(shade_hair(hair, point[rows], chart[rows, :, 1], view, light))
        lay_over(window[rows], colour, cover[rows])


def shade_hair(hair: Hair, point: Array, strands: Array, view: HeadView, light: Light) -> Array:
    to_light = view.rotation.T @ light.direction
    half = to_light + view.rotation[2]
    half = half / np.linalg.norm(half)
    dots = point @ np.stack([to_light, half], 1)
    key = np.maximum((dots[..., 0] + 0.35) / 1.35, 0)
    band = np.exp(-(((point[..., 1] - half[1] + 0.15) / 0.22) ** 2)) * np.maximum(dots[..., 1], 0) ** 3
    colour = np.asarray(hair.colour, np.float32) * (strands**2)[..., None]
    lit = colour * (key[..., None] * light.key + 0.7 * light.fill + light.ambient)
    shine = (0.05 + 0.25 * np.asarray(hair.colour, np.float32)) * (band * np.clip(strands - 0.6, 0, 1))[..., None]
    return 1.25 * lit + shine * light.key * (0.3 if hair.curl > 0.8 else 0.8)


def lay_back_hair(picture: Array, hair: Hair, pose: Pose, light: Light) -> None:
    """Hair that hangs behind the head and neck; it follows the head's tilt less the lower it is."""
    rows, columns = window_of(pose, size_of(picture), (1.3, hair.length + 0.2, 1.5))
    if rows.start == rows.stop or columns.start == columns.stop:
        return
    x, y = upright_plane(pose, rows, columns)
    x = x - math.tan(pose.roll) * np.maximum(y, 0) * 0.6 + 0.12 * math.sin(pose.yaw)
    wave = 0.035 * np.sin(4.2 * y + 1.7 * np.sign(x) + hair.part) * ramp(y, -0.2, 0.6)
    dome = np.sqrt(np.clip(1 - (np.minimum(y + 0.1, 0) / 1.02) ** 2, 0, 1))
    width = dome * (0.8 + 0.45 * hair.volume + 0.07 * ramp(y, 0, 1) * (hair.length > 1.1)) + wave
    tips = hair.length - y - 0.1 * (x / 0.8) ** 2 + 0.03 * np.sin(31 * x)
    edge = np.minimum(np.minimum(width, 3 * (y + 1.1)) - np.abs(x), 0.7 * tips)
    lines = np.sin(46 * x + 3 * np.sin(2.5 * y)) * 0.1 + np.sin(91 * x + 2 * np.sin(3 * y + 1)) * 0.07
    side = 0.55 + 0.35 * np.clip(x * light.direction[0], -1, 1) * 1.4 + 0.4 * ramp(np.abs(x), 0.45, 0.8)
    shade = ((0.8 + lines) ** 2 * np.clip(side, 0.15, 1.3))[..., None]
    colour = np.asarray(hair.colour, np.float32) * (0.8 * light.key + light.fill + light.ambient) * shade
    lay_over(picture[rows, columns], to_pixels(colour), np.clip(edge * pose.unit_px * 0.7 + 0.5, 0, 1))


def lay_ear(window: Array, person: Person, view: HeadView, light: Light, side: int, in_front: bool) -> None:
    """Behind the head it shows what sticks out; an ear turned to the viewer is laid over the head as well."""
    seen = view.rotation @ np.array([side * 0.99, 0.1, -0.08], np.float32)
    share = float(ramp(seen[2], 0.06, 0.3)) if in_front else 1.0
    box = box_around(view, float(seen[0]) * person.head.half_width, float(seen[1]), 0.32)
    if share == 0.0 or person.hair.length > 0 or box is None:
        return
    x = (view.flat_x[box] - seen[0] * person.head.half_width) * side
    y = view.flat_y[box] - seen[1]
    x = x + 0.25 * y - 0.02
    lobe = 1 + 0.25 * ramp(y, 0, 0.2)
    radius = np.hypot(x / (0.105 + 0.03 * max(float(seen[2]), 0)), y / person.head.ear * lobe)
    cover = np.clip((1 - radius) * (0.11 * view.pose.unit_px) + 0.5, 0, 1) * share
    fold = 1 - 0.35 * np.exp(-((radius / 0.35) ** 2))
    fold -= 0.5 * np.exp(-(((radius - 0.62) / 0.16) ** 2)) * ramp(0.7 - x / 0.1, 0, 0.6)
    lit = max(float(side * light.direction[0]) * 0.6 + 0.45, 0.12)
    skin = np.asarray(person.face.skin, np.float32) * np.array([1.0, 0.86, 0.84], np.float32)
    colour = skin * (lit * light.key + light.fill + light.ambient)
    lay_over(window[box], to_pixels(colour * fold[..., None]), cover)


def lay_glasses(window: Array, glasses: Glasses, eye_x: float, view: HeadView, light: Light) -> None:
    soft = view.pixel
    line = np.full(window.shape[:2], 9.0, np.float32)
    for side in (-1, 1):
        seen = view.rotation @ np.array([side * (eye_x + 0.015) / FACE_HALF_WIDTH, 0.03, 0.98], np.float32)
        narrow = abs(float(view.rotation[0, 0]))
        x = (view.flat_x - seen[0] * FACE_HALF_WIDTH) / (glasses.width * narrow)
        y = (view.flat_y - seen[1]) / glasses.height
        ring = (np.abs(x) ** glasses.roundness + np.abs(y) ** glasses.roundness) ** (1 / glasses.roundness)
        line = np.minimum(line, np.abs(ring - 1) * glasses.height)
        reflection = np.clip((1 - ring) / (soft * 6), 0, 1) * np.clip(0.10 - 0.25 * (x + y), 0, 0.16)
        lay_over(window, np.float32(235) * np.sqrt(light.key), reflection)
        line = np.minimum(line, temple_arm(view, side, eye_x + 0.015 + glasses.width))
    middle = view.rotation @ np.array([0, -0.02, 1.02], np.float32)
    beyond = np.abs(view.flat_x - middle[0] * FACE_HALF_WIDTH) - (eye_x + 0.015 - glasses.width)
    bridge = np.hypot(np.maximum(beyond, 0), view.flat_y - middle[1] + 0.01)
    cover = np.clip((glasses.rim - np.minimum(line, bridge)) / soft + 0.5, 0, 1)
    colour = np.asarray(glasses.colour, np.float32) * (light.key + light.fill) + 0.01
    lay_over(window, to_pixels(colour), cover)


def temple_arm(view: HeadView, side: int, outer: float) -> Array:
    """Distance to the straight piece from the rim to the ear, where it stands before the head."""
    start = view.rotation @ np.array([side * outer / FACE_HALF_WIDTH, -0.02, 0.72], np.float32)
    end = view.rotation @ np.array([side * 1.0, 0.0, 0.0], np.float32)
    ax, ay, bx, by = start[0] * FACE_HALF_WIDTH, start[1], end[0] * FACE_HALF_WIDTH, end[1]
    dx, dy = bx - ax, by - ay
    along = np.clip(((view.flat_x - ax) * dx + (view.flat_y - ay) * dy) / max(dx * dx + dy * dy, 1e-4), 0, 1)
    return np.hypot(view.flat_x - ax - along * dx, view.flat_y - ay - along * dy)


def paint_body(person: Person, home: Pose, scene: Scene) -> Array:
    """Neck, shoulders and clothes, for the head at `home`; BODY_REACH_PX larger than the picture on every side."""
    rng = np.random.default_rng([person.face.texture_seed, 7])
    shape = scene.height + 2 * BODY_REACH_PX, scene.width + 2 * BODY_REACH_PX
    x = (np.arange(shape[1], dtype=np.float32)[None] + 0.5 - BODY_REACH_PX - home.x) / home.unit_px
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5 - BODY_REACH_PX - home.y) / home.unit_px
    x, y = np.broadcast_arrays(x, y)
    neck, neck_cover = paint_neck(person, x, y, scene.light, home.unit_px)
    cloth, cloth_cover = paint_clothes(person, x, y, scene.light, home.unit_px, rng)
    colour = neck + (cloth - neck) * cloth_cover[..., None]
    cover = np.maximum(neck_cover, cloth_cover)
    return np.dstack([to_pixels(colour) * cover[..., None], cover]).astype(np.float32)


def paint_neck(person: Person, x: Array, y: Array, light: Light, unit_px: float) -> tuple[Array, Array]:
    half = person.head.neck * (1 + 0.9 * ramp(y, 0.95, 1.55) ** 2)
    across = np.clip(x / half, -1, 1)
    normal = across * 0.9
    lit = np.maximum((normal * light.direction[0] + np.sqrt(1 - normal**2) * light.direction[2] + 0.3) / 1.3, 0)
    chin = 1 - 0.68 * (1 - ramp(y - 0.1 * np.abs(x), 1.0, 1.32))
    sinew = 1 - 0.12 * np.exp(-(((np.abs(x) - 0.2 + 0.12 * (y - 1)) / 0.05) ** 2))
    sinew -= 0.1 * np.exp(-((x / 0.06) ** 2)) * ramp(y, 1.3, 1.5)
    skin = np.asarray(person.face.skin, np.float32) * np.array([0.97, 0.93, 0.92], np.float32)
    colour = skin * light.key * (lit * chin * sinew)[..., None]
    colour += skin * (light.fill + light.ambient) * (0.55 * chin)[..., None]
    return colour, np.clip((half - np.abs(x)) * unit_px + 0.5, 0, 1) * (y > 0.4)


def paint_clothes(
    person: Person, x: Array, y: Array, light: Light, unit_px: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    kind = str(rng.choice(("crew", "vee", "shirt", "jacket", "hood")))
    outer, inner = muted_cloth(rng), np.full(3, rng.uniform(0.5, 0.8), np.float32)
    side = np.abs(x)
    top = np.maximum(shoulder_line(kind, side, float(rng.uniform(0.26, 0.36))), collar_line(kind, side))
    cover = np.clip((y - top) * unit_px * 0.8 + 0.5, 0, 1)
    folds = 1 + 0.07 * np.sin(6 * x + 3 * y + 2 * np.sin(3 * y)) + 0.05 * np.sin(14 * x - 5 * y)
    lit = 0.6 + 0.45 * np.clip(x / 1.6, -1, 1) * light.direction[0] - 0.25 * (y - top - 0.2)
    colour = np.broadcast_to(outer, (*x.shape, 3)).copy()
    if kind == "jacket":
        lay_over(colour, inner, np.clip((0.62 - 0.3 * (y - 1.3) - side) * unit_px, 0, 1))
    if kind in ("shirt", "jacket"):
        colour *= (1 - 0.5 * np.exp(-(((y - top - 0.13 - 0.1 * side) / 0.03) ** 2)) * (side < 0.5))[..., None]
    else:
        colour *= (1 - 0.35 * np.exp(-(((y - top - 0.05) / 0.018) ** 2)) * (side < 0.6))[..., None]
    return colour * (np.clip(lit, 0.2, 1.1) * folds)[..., None] * (light.key + light.fill + light.ambient), cover


def shoulder_line(kind: str, side: Array, slope: float) -> Array:
    line = 1.12 + slope * np.minimum(side / 1.2, 1.4) ** 1.6 + 3 * np.maximum(side - 1.45, 0) ** 2
    return line - 0.16 * np.exp(-(((side - 0.5) / 0.16) ** 2)) if kind == "hood" else line


def collar_line(kind: str, side: Array) -> Array:
    if kind == "vee":
        return 1.86 - 1.1 * side
    if kind in ("shirt", "jacket"):
        return 1.62 - 0.9 * side
    return 1.3 + 0.13 * np.sqrt(np.clip(1 - (side / 0.56) ** 2, 0, 1))


def muted_cloth(rng: np.random.Generator) -> Array:
    grey = rng.uniform(0.03, 0.45)
    return (grey * rng.uniform(0.45, 1.5, 3)).astype(np.float32)


def lay_body(picture: Array, figure: Figure, pose: Pose) -> None:
    """A body follows half of what its head does, and none of its turning."""
    dx, dy = 0.55 * (pose.x - figure.home.x), 0.45 * (pose.y - figure.home.y)
    top = int(np.clip(pose.y + 0.3 * pose.unit_px, 0, picture.shape[0]))
    if top >= picture.shape[0]:
        return
    move = np.array([[1, 0, BODY_REACH_PX - dx], [0, 1, BODY_REACH_PX + top - dy]], np.float32)
    size = (picture.shape[1], picture.shape[0] - top)
    body = cv2.warpAffine(figure.body, move, size, flags=BACKWARDS)
    picture[top:] *= 1 - body[..., 3:]
    picture[top:] += body[..., :3]
