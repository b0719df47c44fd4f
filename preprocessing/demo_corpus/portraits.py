"""Draw a person into a picture: `draw_frame` composites back hair, body, head and glasses over the backdrop.

A `DrawnFrame` keeps the pixels behind the head, so `redraw_head` can draw the same frame with another face or another
expression without redrawing the rest. The manipulations start from it.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from explain_deepfakes.preprocessing.demo_corpus.face_charts import FACE_HALF_WIDTH, Array, Hair, smoothstep
from explain_deepfakes.preprocessing.demo_corpus.heads import (
    HeadView,
    box_around,
    chart_coordinates,
    draw_head,
    head_window,
    upright_coordinates,
    view_head,
    visible_sphere_points,
)
from explain_deepfakes.preprocessing.demo_corpus.people import DrawnPerson, Expression, Glasses, Pose
from explain_deepfakes.preprocessing.demo_corpus.scenery import MARGIN_PX, Light, Scene

HEAD_REACH = (1.35, 1.2, 1.05)  # up, down and sideways, face units; excludes hair that hangs behind the head
INVERSE_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # the matrix maps output pixels to input pixels
BODY_REACH_PX = 24  # padding of the painted body, more than it moves in a video


@dataclass(frozen=True)
class Body:
    """A person's body in one scene. It is painted once and then only moved."""

    person: DrawnPerson
    layer: Array  # (h, w, 4): pixel values premultiplied by coverage, and coverage; painted for `rest_pose`
    rest_pose: Pose


@dataclass(frozen=True)
class DrawnFrame:
    """One drawn frame of a performance."""

    body: Body
    expression: Expression
    view: HeadView
    light: Light
    background: Array  # the view's window before the head was drawn
    picture: Array  # (h, w, 3) pixel values, before the camera model


def to_pixels(light: Array) -> Array:
    """Convert linear light to pixel values."""
    return np.float32(255) * np.sqrt(np.clip(light, 0, 1))


def make_body(person: DrawnPerson, rest_pose: Pose, scene: Scene) -> Body:
    return Body(person, paint_body(person, rest_pose, scene), rest_pose)


def draw_backdrop(scene: Scene, shake: tuple[float, float]) -> Array:
    """The backdrop of the scene as seen by the shaking camera."""
    move = np.array([[1, 0, MARGIN_PX - shake[0]], [0, 1, MARGIN_PX - shake[1]]], np.float32)
    return cv2.warpAffine(scene.backdrop, move, (scene.width, scene.height), flags=INVERSE_WARP)


def draw_frame(picture: Array, body: Body, pose: Pose, expression: Expression, light: Light) -> DrawnFrame:
    """Draw the person into the picture in place. The pose is relative to the picture, camera shake included."""
    person = body.person
    window = head_window(pose, height_width(picture), HEAD_REACH)
    view = view_head(person.head, pose, expression.mouth_open, window)
    if person.hair.length > 0:
        draw_back_hair(picture, person.hair, pose, light)
    draw_body(picture, body, pose)
    background = picture[view.rows, view.columns].copy()
    frame = DrawnFrame(body, expression, view, light, background, picture)
    picture[view.rows, view.columns] = redraw_head(frame, person, expression, view)
    return frame


def redraw_head(frame: DrawnFrame, person: DrawnPerson, expression: Expression, view: HeadView) -> Array:
    """Draw the view's window, a part of the frame's, with this person and expression. Returns pixel values."""
    top, left = view.rows.start - frame.view.rows.start, view.columns.start - frame.view.columns.start
    window = frame.background[top : top + view.x.shape[0], left : left + view.x.shape[1]].copy()
    if window.size == 0:
        return window
    for side in (-1, 1):
        draw_ear(window, person, view, frame.light, side, in_front=False)
    composite(window, to_pixels(draw_head(person, expression, view, frame.light)), view.coverage)
    for side in (-1, 1):
        draw_ear(window, person, view, frame.light, side, in_front=True)
    draw_hair(window, person, view, frame.light)
    if person.glasses:
        draw_glasses(window, person.glasses, person.face.eye_x, view, frame.light)
    return window


def height_width(picture: Array) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]


def composite(picture: Array, colour: Array, coverage: Array) -> None:
    """Composite the colour over the picture in place."""
    picture += (colour - picture) * coverage[..., None]


def hair_axes(person: DrawnPerson) -> tuple[float, float]:
    """Half axes of the outline of the hair, face units."""
    return person.head.half_width * (1.06 + person.hair.volume), 1.05 + 0.75 * person.hair.volume


def draw_hair(window: Array, person: DrawnPerson, view: HeadView, light: Light) -> None:
    hair, pixel_size = person.hair, view.pose.unit_px
    wide, tall = hair_axes(person)
    deep = 1 + 0.1 * math.sin(view.pose.yaw) ** 2
    flat_x, flat_y = view.flat_x / (wide * deep), (view.flat_y + 0.035) / tall
    point, inside = visible_sphere_points(flat_x, flat_y, pixel_size, view.rotation)
    chart = cv2.remap(person.hair_chart, *chart_coordinates(point), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    edge = 1 - np.sqrt(flat_x**2 + flat_y**2) - chart[..., 2]
    beside = (1 - view.coverage) * smoothstep(-view.flat_y, -0.05, 0.1)  # hair visible beside the head hangs behind its rim
    coverage = np.clip(edge * (0.5 * pixel_size) + 0.5, 0, 1) * inside * np.maximum(np.clip(chart[..., 0], 0, 1), beside)
    if hair.style == "cropped":  # the scalp shows through
        coverage *= np.float32(0.8) * view.coverage
    covered = np.flatnonzero(coverage.any(1))
    if len(covered):
        rows = slice(covered[0], covered[-1] + 1)
        colour = to_pixels(shade_hair(hair, point[rows], chart[rows, :, 1], view, light))
        composite(window[rows], colour, coverage[rows])


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


def draw_back_hair(picture: Array, hair: Hair, pose: Pose, light: Light) -> None:
    """Draw hair that hangs behind the head and neck. The lower it is, the less it follows the head's roll."""
    rows, columns = head_window(pose, height_width(picture), (1.3, hair.length + 0.2, 1.5))
    if rows.start == rows.stop or columns.start == columns.stop:
        return
    x, y = upright_coordinates(pose, rows, columns)
    x = x - math.tan(pose.roll) * np.maximum(y, 0) * 0.6 + 0.12 * math.sin(pose.yaw)
    wave = 0.035 * np.sin(4.2 * y + 1.7 * np.sign(x) + hair.parting) * smoothstep(y, -0.2, 0.6)
    dome = np.sqrt(np.clip(1 - (np.minimum(y + 0.1, 0) / 1.02) ** 2, 0, 1))
    width = dome * (0.8 + 0.45 * hair.volume + 0.07 * smoothstep(y, 0, 1) * (hair.length > 1.1)) + wave
    tips = hair.length - y - 0.1 * (x / 0.8) ** 2 + 0.03 * np.sin(31 * x)
    edge = np.minimum(np.minimum(width, 3 * (y + 1.1)) - np.abs(x), 0.7 * tips)
    lines = np.sin(46 * x + 3 * np.sin(2.5 * y)) * 0.1 + np.sin(91 * x + 2 * np.sin(3 * y + 1)) * 0.07
    side = 0.55 + 0.35 * np.clip(x * light.direction[0], -1, 1) * 1.4 + 0.4 * smoothstep(np.abs(x), 0.45, 0.8)
    shade = ((0.8 + lines) ** 2 * np.clip(side, 0.15, 1.3))[..., None]
    colour = np.asarray(hair.colour, np.float32) * (0.8 * light.key + light.fill + light.ambient) * shade
    composite(picture[rows, columns], to_pixels(colour), np.clip(edge * pose.unit_px * 0.7 + 0.5, 0, 1))


def draw_ear(window: Array, person: DrawnPerson, view: HeadView, light: Light, side: int, in_front: bool) -> None:
    """Draw an ear. It is drawn behind the head and, if it faces the viewer, also in front of it."""
    projected = view.rotation @ np.array([side * 0.99, 0.1, -0.08], np.float32)
    share = float(smoothstep(projected[2], 0.06, 0.3)) if in_front else 1.0
    box = box_around(view, float(projected[0]) * person.head.half_width, float(projected[1]), 0.32)
    if share == 0.0 or person.hair.length > 0 or box is None:
        return
    x = (view.flat_x[box] - projected[0] * person.head.half_width) * side
    y = view.flat_y[box] - projected[1]
    x = x + 0.25 * y - 0.02
    lobe = 1 + 0.25 * smoothstep(y, 0, 0.2)
    radius = np.hypot(x / (0.105 + 0.03 * max(float(projected[2]), 0)), y / person.head.ear * lobe)
    coverage = np.clip((1 - radius) * (0.11 * view.pose.unit_px) + 0.5, 0, 1) * share
    fold = 1 - 0.35 * np.exp(-((radius / 0.35) ** 2))
    fold -= 0.5 * np.exp(-(((radius - 0.62) / 0.16) ** 2)) * smoothstep(0.7 - x / 0.1, 0, 0.6)
    lit = max(float(side * light.direction[0]) * 0.6 + 0.45, 0.12)
    skin = np.asarray(person.face.skin, np.float32) * np.array([1.0, 0.86, 0.84], np.float32)
    colour = skin * (lit * light.key + light.fill + light.ambient)
    composite(window[box], to_pixels(colour * fold[..., None]), coverage)


def draw_glasses(window: Array, glasses: Glasses, eye_x: float, view: HeadView, light: Light) -> None:
    soft = view.pixel
    line = np.full(window.shape[:2], 9.0, np.float32)
    for side in (-1, 1):
        projected = view.rotation @ np.array([side * (eye_x + 0.015) / FACE_HALF_WIDTH, 0.03, 0.98], np.float32)
        narrow = abs(float(view.rotation[0, 0]))
        x = (view.flat_x - projected[0] * FACE_HALF_WIDTH) / (glasses.width * narrow)
        y = (view.flat_y - projected[1]) / glasses.height
        ring = (np.abs(x) ** glasses.roundness + np.abs(y) ** glasses.roundness) ** (1 / glasses.roundness)
        line = np.minimum(line, np.abs(ring - 1) * glasses.height)
        reflection = np.clip((1 - ring) / (soft * 6), 0, 1) * np.clip(0.10 - 0.25 * (x + y), 0, 0.16)
        composite(window, np.float32(235) * np.sqrt(light.key), reflection)
        line = np.minimum(line, temple_arm(view, side, eye_x + 0.015 + glasses.width))
    middle = view.rotation @ np.array([0, -0.02, 1.02], np.float32)
    beyond = np.abs(view.flat_x - middle[0] * FACE_HALF_WIDTH) - (eye_x + 0.015 - glasses.width)
    bridge = np.hypot(np.maximum(beyond, 0), view.flat_y - middle[1] + 0.01)
    coverage = np.clip((glasses.rim - np.minimum(line, bridge)) / soft + 0.5, 0, 1)
    colour = np.asarray(glasses.colour, np.float32) * (light.key + light.fill) + 0.01
    composite(window, to_pixels(colour), coverage)


def temple_arm(view: HeadView, side: int, outer: float) -> Array:
    """Distance of each pixel to the temple arm of the glasses, the straight piece from the rim to the ear."""
    start = view.rotation @ np.array([side * outer / FACE_HALF_WIDTH, -0.02, 0.72], np.float32)
    end = view.rotation @ np.array([side * 1.0, 0.0, 0.0], np.float32)
    ax, ay, bx, by = start[0] * FACE_HALF_WIDTH, start[1], end[0] * FACE_HALF_WIDTH, end[1]
    dx, dy = bx - ax, by - ay
    along = np.clip(((view.flat_x - ax) * dx + (view.flat_y - ay) * dy) / max(dx * dx + dy * dy, 1e-4), 0, 1)
    return np.hypot(view.flat_x - ax - along * dx, view.flat_y - ay - along * dy)


def paint_body(person: DrawnPerson, rest_pose: Pose, scene: Scene) -> Array:
    """Paint neck, shoulders and clothes for the head at `rest_pose`, with BODY_REACH_PX of padding on every side."""
    rng = np.random.default_rng([person.face.texture_seed, 7])
    shape = scene.height + 2 * BODY_REACH_PX, scene.width + 2 * BODY_REACH_PX
    x = (np.arange(shape[1], dtype=np.float32)[None] + 0.5 - BODY_REACH_PX - rest_pose.x) / rest_pose.unit_px
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5 - BODY_REACH_PX - rest_pose.y) / rest_pose.unit_px
    x, y = np.broadcast_arrays(x, y)
    neck, neck_coverage = paint_neck(person, x, y, scene.light, rest_pose.unit_px)
    cloth, cloth_coverage = paint_clothes(person, x, y, scene.light, rest_pose.unit_px, rng)
    colour = neck + (cloth - neck) * cloth_coverage[..., None]
    coverage = np.maximum(neck_coverage, cloth_coverage)
    return np.dstack([to_pixels(colour) * coverage[..., None], coverage]).astype(np.float32)


def paint_neck(person: DrawnPerson, x: Array, y: Array, light: Light, unit_px: float) -> tuple[Array, Array]:
    half = person.head.neck * (1 + 0.9 * smoothstep(y, 0.95, 1.55) ** 2)
    across = np.clip(x / half, -1, 1)
    normal = across * 0.9
    lit = np.maximum((normal * light.direction[0] + np.sqrt(1 - normal**2) * light.direction[2] + 0.3) / 1.3, 0)
    chin = 1 - 0.68 * (1 - smoothstep(y - 0.1 * np.abs(x), 1.0, 1.32))
    sinew = 1 - 0.12 * np.exp(-(((np.abs(x) - 0.2 + 0.12 * (y - 1)) / 0.05) ** 2))
    sinew -= 0.1 * np.exp(-((x / 0.06) ** 2)) * smoothstep(y, 1.3, 1.5)
    skin = np.asarray(person.face.skin, np.float32) * np.array([0.97, 0.93, 0.92], np.float32)
    colour = skin * light.key * (lit * chin * sinew)[..., None]
    colour += skin * (light.fill + light.ambient) * (0.55 * chin)[..., None]
    return colour, np.clip((half - np.abs(x)) * unit_px + 0.5, 0, 1) * (y > 0.4)


def paint_clothes(
    person: DrawnPerson, x: Array, y: Array, light: Light, unit_px: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    kind = str(rng.choice(("crew", "vee", "shirt", "jacket", "hood")))
    outer, inner = sample_cloth_colour(rng), np.full(3, rng.uniform(0.5, 0.8), np.float32)
    side = np.abs(x)
    top = np.maximum(shoulder_line(kind, side, float(rng.uniform(0.26, 0.36))), collar_line(kind, side))
    coverage = np.clip((y - top) * unit_px * 0.8 + 0.5, 0, 1)
    folds = 1 + 0.07 * np.sin(6 * x + 3 * y + 2 * np.sin(3 * y)) + 0.05 * np.sin(14 * x - 5 * y)
    lit = 0.6 + 0.45 * np.clip(x / 1.6, -1, 1) * light.direction[0] - 0.25 * (y - top - 0.2)
    colour = np.broadcast_to(outer, (*x.shape, 3)).copy()
    if kind == "jacket":
        composite(colour, inner, np.clip((0.62 - 0.3 * (y - 1.3) - side) * unit_px, 0, 1))
    if kind in ("shirt", "jacket"):
        colour *= (1 - 0.5 * np.exp(-(((y - top - 0.13 - 0.1 * side) / 0.03) ** 2)) * (side < 0.5))[..., None]
    else:
        colour *= (1 - 0.35 * np.exp(-(((y - top - 0.05) / 0.018) ** 2)) * (side < 0.6))[..., None]
    return colour * (np.clip(lit, 0.2, 1.1) * folds)[..., None] * (light.key + light.fill + light.ambient), coverage


def shoulder_line(kind: str, side: Array, slope: float) -> Array:
    height = 1.12 + slope * np.minimum(side / 1.2, 1.4) ** 1.6 + 3 * np.maximum(side - 1.45, 0) ** 2
    return height - 0.16 * np.exp(-(((side - 0.5) / 0.16) ** 2)) if kind == "hood" else height


def collar_line(kind: str, side: Array) -> Array:
    if kind == "vee":
        return 1.86 - 1.1 * side
    if kind in ("shirt", "jacket"):
        return 1.62 - 0.9 * side
    return 1.3 + 0.13 * np.sqrt(np.clip(1 - (side / 0.56) ** 2, 0, 1))


def sample_cloth_colour(rng: np.random.Generator) -> Array:
    grey = rng.uniform(0.03, 0.45)
    return (grey * rng.uniform(0.45, 1.5, 3)).astype(np.float32)


def draw_body(picture: Array, body: Body, pose: Pose) -> None:
    """Draw the body. It follows about half of the head's translation and none of its rotation."""
    dx, dy = 0.55 * (pose.x - body.rest_pose.x), 0.45 * (pose.y - body.rest_pose.y)
    top = int(np.clip(pose.y + 0.3 * pose.unit_px, 0, picture.shape[0]))
    if top >= picture.shape[0]:
        return
    move = np.array([[1, 0, BODY_REACH_PX - dx], [0, 1, BODY_REACH_PX + top - dy]], np.float32)
    size = (picture.shape[1], picture.shape[0] - top)
    layer = cv2.warpAffine(body.layer, move, size, flags=INVERSE_WARP)
    picture[top:] *= 1 - layer[..., 3:]
    picture[top:] += layer[..., :3]
