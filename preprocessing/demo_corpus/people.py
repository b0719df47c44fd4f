"""Who is drawn and what they do: a `Person` and a `Performance`, both decided by a random generator alone."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from preprocessing.demo_corpus.face_charts import Array, Face, FaceChart, Hair, paint_face, paint_hair

Colour = tuple[float, float, float]
# Light that comes back from them, red, green and blue.
SKINS = (
    (0.90, 0.68, 0.56),
    (0.80, 0.56, 0.42),
    (0.68, 0.44, 0.31),
    (0.52, 0.31, 0.20),
    (0.33, 0.18, 0.11),
    (0.19, 0.10, 0.065),
)
HAIRS = {
    "black": (0.012, 0.010, 0.010),
    "dark brown": (0.035, 0.020, 0.013),
    "brown": (0.09, 0.045, 0.02),
    "light brown": (0.2, 0.11, 0.05),
    "blond": (0.45, 0.29, 0.13),
    "red": (0.26, 0.08, 0.03),
    "grey": (0.4, 0.39, 0.38),
}
HAIR_SHARES_DARK = (0.5, 0.4, 0.07, 0.0, 0.0, 0.0, 0.03)  # of those with dark skin, in the order of HAIRS
HAIR_SHARES_LIGHT = (0.14, 0.2, 0.2, 0.14, 0.14, 0.1, 0.08)
IRISES = ((0.05, 0.025, 0.012), (0.12, 0.06, 0.02), (0.10, 0.12, 0.05), (0.07, 0.15, 0.22), (0.12, 0.17, 0.19))
GLASSES = ((0.01, 0.01, 0.012), (0.06, 0.025, 0.012), (0.2, 0.19, 0.18), (0.12, 0.02, 0.02))
STYLES = ("short", "swept", "fringe", "curly", "long", "bob", "tied", "cropped")
STYLE_SHARES_MANLY = (0.36, 0.26, 0.0, 0.12, 0.04, 0.0, 0.02, 0.2)
STYLE_SHARES_WOMANLY = (0.05, 0.06, 0.16, 0.13, 0.28, 0.16, 0.14, 0.02)


@dataclass(frozen=True)
class Glasses:
    colour: Colour
    width: float
    height: float
    roundness: float
    rim: float


@dataclass(frozen=True)
class Head:
    """Outline of the head: what a face swap leaves as it was."""

    half_width: float
    jaw: float
    square: float
    ear: float
    neck: float


@dataclass(frozen=True)
class Person:
    face: Face
    head: Head
    hair: Hair
    glasses: Glasses | None

    @cached_property
    def face_chart(self) -> FaceChart:
        return paint_face(self.face)

    @cached_property
    def hair_chart(self) -> Array:
        return paint_hair(self.hair)


@dataclass(frozen=True)
class Expression:
    """0 is at rest, 1 as far as it goes (gaze: -1 to 1)."""

    eyes_open: float
    gaze_x: float
    gaze_y: float
    brows_up: float
    frown: float
    smile: float
    mouth_open: float
    pucker: float


@dataclass(frozen=True)
class Pose:
    """Where the head's middle is (pixels), how far it is to the chin (pixels), how the head is turned (radians)."""

    x: float
    y: float
    unit_px: float
    yaw: float
    pitch: float
    roll: float


def draw_person(rng: Generator) -> Person:
    """A person nobody has seen before; the same numbers give the same person."""
    manly = bool(rng.random() < 0.5)
    skin = pick_skin(rng)
    shares = HAIR_SHARES_DARK if is_dark(skin) else HAIR_SHARES_LIGHT
    hair_colour = varied(rng, HAIRS[str(rng.choice(list(HAIRS), p=shares))], 0.8, 1.25)
    hair = pick_hair(rng, manly, hair_colour)
    face = pick_face(rng, manly, skin, hair_colour)
    head = Head(
        half_width=float(rng.uniform(0.72, 0.79)),
        jaw=float(rng.uniform(0.06, 0.16) - 0.04 * manly),
        square=float(rng.uniform(0.04, 0.09) + 0.04 * manly),
        ear=float(rng.uniform(0.17, 0.21)),
        neck=float(rng.uniform(0.33, 0.38) + 0.06 * manly),
    )
    return Person(face, head, hair, pick_glasses(rng) if rng.random() < 0.22 else None)


def pick_skin(rng: Generator) -> Colour:
    place = rng.uniform(0, len(SKINS) - 1)
    low = min(int(place), len(SKINS) - 2)
    share = place - low
    between = np.asarray(SKINS[low]) * (1 - share) + np.asarray(SKINS[low + 1]) * share
    return varied(rng, between, 0.95, 1.05)


def varied(rng: Generator, colour: Colour | Array, low: float, high: float) -> Colour:
    red, green, blue = (float(part * rng.uniform(low, high)) for part in colour)
    return red, green, blue


def is_dark(skin: Colour) -> bool:
    return sum(skin) < 1.0


def pick_hair(rng: Generator, manly: bool, colour: Colour) -> Hair:
    style = str(rng.choice(STYLES, p=STYLE_SHARES_MANLY if manly else STYLE_SHARES_WOMANLY))
    long = {"long": 1.7, "bob": 0.95, "fringe": 1.25}.get(style, 0.0)
    return Hair(
        style=style,
        colour=colour,
        hairline=float(rng.uniform(-0.66, -0.56)) + (0.22 if style == "fringe" else 0.0),
        temple=float(rng.uniform(0.35, 0.7)),
        part=float(rng.choice((-1, 1)) * rng.uniform(0.3, 1.0)),
        volume={"curly": 0.24, "tied": 0.05, "cropped": 0.02, "bob": 0.13}.get(style, 0.1),
        length=long + float(rng.uniform(-0.1, 0.15)) * (long > 0),
        curl={"curly": 1.0, "cropped": 0.0}.get(style, float(rng.uniform(0.0, 0.45))),
        texture_seed=int(rng.integers(2**31)),
    )


def pick_face(rng: Generator, manly: bool, skin: Colour, hair: Colour) -> Face:
    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    red, rose = between(0.5, 0.72), between(0.0, 0.25) * (not manly)
    bearded = manly and rng.random() < 0.3
    return Face(
        skin=skin,
        lips=(skin[0] * (0.86 - 0.1 * rose), skin[1] * (red - rose) * 0.72, skin[2] * (red - 0.7 * rose) * 0.82),
        iris=IRISES[int(rng.integers(2 if is_dark(skin) else len(IRISES)))],
        brow=(hair[0] * 0.55 + 0.004, hair[1] * 0.55 + 0.004, hair[2] * 0.55 + 0.004),
        blush=between(0.25, 0.8),
        freckles=between(0, 0.8) * (rng.random() < 0.35),
        stubble=manly * between(0.0, 0.55),
        beard=bearded * between(0.75, 1.0),
        age=between(0.1, 1.0),
        eye_x=between(0.275, 0.315),
        eye_width=between(0.145, 0.168),
        eye_height=between(0.054, 0.07) + 0.007 * (not manly),
        eye_slant=between(-0.06, 0.14),
        lid_crease=between(0.02, 0.045),
        lashes=between(0.5, 0.8) + 0.35 * (not manly),
        brow_lift=between(-0.005, 0.03),
        brow_thickness=between(0.028, 0.04) + 0.012 * manly,
        brow_arch=between(0.012, 0.05),
        nose_width=between(0.85, 1.15) + 0.1 * manly + 0.12 * is_dark(skin),
        nose_length=between(0.92, 1.08),
        nose_height=between(0.85, 1.25),
        mouth_y=between(0.585, 0.625),
        mouth_width=between(0.225, 0.28),
        upper_lip=between(0.034, 0.055),
        lower_lip=between(0.05, 0.075),
        cheekbones=between(0.3, 1.3),
        chin=between(0.5, 1.2),
        texture_seed=int(rng.integers(2**31)),
    )


def pick_glasses(rng: Generator) -> Glasses:
    width = float(rng.uniform(0.19, 0.225))
    return Glasses(
        colour=GLASSES[int(rng.integers(len(GLASSES)))],
        width=width,
        height=width * float(rng.uniform(0.68, 0.95)),
        roundness=float(rng.uniform(2, 4)),
        rim=float(rng.uniform(0.012, 0.024)),
    )


@dataclass(frozen=True)
class Performance:
    poses: list[Pose]
    expressions: list[Expression]


def act(rng: Generator, frames: int, fps: float, middle: tuple[float, float], unit_px: float) -> Performance:
    """Someone who talks or smiles at the camera, looks about, blinks and moves the head a little."""
    seconds = np.arange(frames) / fps
    yaw = rng.uniform(-0.2, 0.2) + sway(rng, seconds, 0.16)
    pitch = rng.uniform(-0.07, 0.09) + sway(rng, seconds, 0.07)
    roll = rng.uniform(-0.06, 0.06) + sway(rng, seconds, 0.05)
    x = middle[0] + 14 * (yaw - yaw[0]) + sway(rng, seconds, 4)
    y = middle[1] + 10 * (pitch - pitch[0]) + sway(rng, seconds, 2)
    size = unit_px * (1 + sway(rng, seconds, 0.015))
    poses = [Pose(*(float(v) for v in row)) for row in zip(x, y, size, yaw, pitch, roll, strict=True)]
    talk = rng.choice((0.1, 0.5, 0.9))
    syllables = np.abs(np.sin(seconds * rng.uniform(7, 10) + rng.uniform(0, 6) + sway(rng, seconds, 1.5)))
    parts = {
        "eyes_open": blinks(rng, seconds) * rng.uniform(0.85, 1.05),
        "gaze_x": glances(rng, seconds) - 0.8 * (yaw - yaw.mean()),
        "gaze_y": 0.5 * glances(rng, seconds),
        "brows_up": np.clip(rng.uniform(-0.2, 0.5) + sway(rng, seconds, 0.35), -0.4, 1),
        "frown": np.clip(rng.uniform(-0.6, 0.3) + sway(rng, seconds, 0.2), 0, 1),
        "smile": np.clip(rng.uniform(0.2, 1.0) + sway(rng, seconds, 0.25), 0, 1.1),
        "mouth_open": np.clip(talk * syllables * rng.uniform(0.6, 1.0), 0, 1),
        "pucker": np.clip(sway(rng, seconds, 0.4) * talk, 0, 0.8),
    }
    expressions = [Expression(**{name: float(values[i]) for name, values in parts.items()}) for i in range(frames)]
    return Performance(poses, expressions)


def sway(rng: Generator, seconds: np.ndarray, amount: float) -> np.ndarray:
    slow, fast = rng.uniform(1.2, 2.6), rng.uniform(3, 5)
    slow_wave = np.sin(slow * seconds + rng.uniform(0, 6.3))
    return amount * (0.75 * slow_wave + 0.25 * np.sin(fast * seconds + rng.uniform(0, 6.3)))


def blinks(rng: Generator, seconds: np.ndarray) -> np.ndarray:
    lids = np.ones_like(seconds)
    for at in np.cumsum(rng.uniform(0.5, 2.2, size=3)):
        lids = np.minimum(lids, np.clip(np.abs(seconds - at) / 0.13, 0.04, 1))
    return lids


def glances(rng: Generator, seconds: np.ndarray) -> np.ndarray:
    starts = np.concatenate([[0], np.cumsum(rng.uniform(0.4, 1.4, size=8))])
    return rng.uniform(-0.5, 0.5, size=9)[np.searchsorted(starts, seconds, side="right") - 1]
