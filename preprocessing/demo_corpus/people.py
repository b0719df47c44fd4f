"""Random people and their movements: `DrawnPerson` and `Performance`, both sampled from a random generator."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from explain_deepfakes.preprocessing.demo_corpus.face_charts import Array, FaceChart, FaceTraits, Hair, paint_face, paint_hair

Colour = tuple[float, float, float]
# Albedos: fractions of red, green and blue light that are reflected.
SKIN_TONES = (
    (0.90, 0.68, 0.56),
    (0.80, 0.56, 0.42),
    (0.68, 0.44, 0.31),
    (0.52, 0.31, 0.20),
    (0.33, 0.18, 0.11),
    (0.19, 0.10, 0.065),
)
HAIR_COLOURS = {
    "black": (0.012, 0.010, 0.010),
    "dark brown": (0.035, 0.020, 0.013),
    "brown": (0.09, 0.045, 0.02),
    "light brown": (0.2, 0.11, 0.05),
    "blond": (0.45, 0.29, 0.13),
    "red": (0.26, 0.08, 0.03),
    "grey": (0.4, 0.39, 0.38),
}
HAIR_SHARES_DARK = (0.5, 0.4, 0.07, 0.0, 0.0, 0.0, 0.03)  # for people with dark skin, in the order of HAIR_COLOURS
HAIR_SHARES_LIGHT = (0.14, 0.2, 0.2, 0.14, 0.14, 0.1, 0.08)
IRIS_COLOURS = ((0.05, 0.025, 0.012), (0.12, 0.06, 0.02), (0.10, 0.12, 0.05), (0.07, 0.15, 0.22), (0.12, 0.17, 0.19))
GLASSES_COLOURS = ((0.01, 0.01, 0.012), (0.06, 0.025, 0.012), (0.2, 0.19, 0.18), (0.12, 0.02, 0.02))
HAIR_STYLES = ("short", "swept", "fringe", "curly", "long", "bob", "tied", "cropped")
STYLE_SHARES_MASCULINE = (0.36, 0.26, 0.0, 0.12, 0.04, 0.0, 0.02, 0.2)
STYLE_SHARES_FEMININE = (0.05, 0.06, 0.16, 0.13, 0.28, 0.16, 0.14, 0.02)


@dataclass(frozen=True)
class Glasses:
    colour: Colour
    width: float
    height: float
    roundness: float
    rim: float


@dataclass(frozen=True)
class HeadShape:
    """Outline of the head, which a face swap does not change. Lengths are in face units."""

    half_width: float
    jaw: float
    square: float
    ear: float
    neck: float


@dataclass(frozen=True)
class DrawnPerson:
    face: FaceTraits
    head: HeadShape
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
    """Strengths of the facial movements: 0 is neutral, 1 the maximum; gaze ranges from -1 to 1."""

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
    """Position of the head's centre (pixels), distance from there to the chin (pixels) and rotation (radians)."""

    x: float
    y: float
    unit_px: float
    yaw: float
    pitch: float
    roll: float


def sample_person(rng: Generator) -> DrawnPerson:
    """Sample a synthetic person; the same generator state gives the same person."""
    masculine = bool(rng.random() < 0.5)
    skin = sample_skin(rng)
    shares = HAIR_SHARES_DARK if is_dark(skin) else HAIR_SHARES_LIGHT
    hair_colour = vary_colour(rng, HAIR_COLOURS[str(rng.choice(list(HAIR_COLOURS), p=shares))], 0.8, 1.25)
    hair = sample_hair(rng, masculine, hair_colour)
    face = sample_face(rng, masculine, skin, hair_colour)
    head = HeadShape(
        half_width=float(rng.uniform(0.72, 0.79)),
        jaw=float(rng.uniform(0.06, 0.16) - 0.04 * masculine),
        square=float(rng.uniform(0.04, 0.09) + 0.04 * masculine),
        ear=float(rng.uniform(0.17, 0.21)),
        neck=float(rng.uniform(0.33, 0.38) + 0.06 * masculine),
    )
    return DrawnPerson(face, head, hair, sample_glasses(rng) if rng.random() < 0.22 else None)


def sample_skin(rng: Generator) -> Colour:
    position = rng.uniform(0, len(SKIN_TONES) - 1)
    low = min(int(position), len(SKIN_TONES) - 2)
    share = position - low
    blended = np.asarray(SKIN_TONES[low]) * (1 - share) + np.asarray(SKIN_TONES[low + 1]) * share
    return vary_colour(rng, blended, 0.95, 1.05)


def vary_colour(rng: Generator, colour: Colour | Array, low: float, high: float) -> Colour:
    """Scale each channel by a random factor between `low` and `high`."""
    red, green, blue = (float(channel * rng.uniform(low, high)) for channel in colour)
    return red, green, blue


def is_dark(skin: Colour) -> bool:
    return sum(skin) < 1.0


def sample_hair(rng: Generator, masculine: bool, colour: Colour) -> Hair:
    style = str(rng.choice(HAIR_STYLES, p=STYLE_SHARES_MASCULINE if masculine else STYLE_SHARES_FEMININE))
    long = {"long": 1.7, "bob": 0.95, "fringe": 1.25}.get(style, 0.0)
    return Hair(
        style=style,
        colour=colour,
        hairline=float(rng.uniform(-0.66, -0.56)) + (0.22 if style == "fringe" else 0.0),
        temple=float(rng.uniform(0.35, 0.7)),
        parting=float(rng.choice((-1, 1)) * rng.uniform(0.3, 1.0)),
        volume={"curly": 0.24, "tied": 0.05, "cropped": 0.02, "bob": 0.13}.get(style, 0.1),
        length=long + float(rng.uniform(-0.1, 0.15)) * (long > 0),
        curl={"curly": 1.0, "cropped": 0.0}.get(style, float(rng.uniform(0.0, 0.45))),
        texture_seed=int(rng.integers(2**31)),
    )


def sample_face(rng: Generator, masculine: bool, skin: Colour, hair: Colour) -> FaceTraits:
    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    red, rose = uniform(0.5, 0.72), uniform(0.0, 0.25) * (not masculine)
    bearded = masculine and rng.random() < 0.3
    return FaceTraits(
        skin=skin,
        lips=(skin[0] * (0.86 - 0.1 * rose), skin[1] * (red - rose) * 0.72, skin[2] * (red - 0.7 * rose) * 0.82),
        iris=IRIS_COLOURS[int(rng.integers(2 if is_dark(skin) else len(IRIS_COLOURS)))],
        brow=(hair[0] * 0.55 + 0.004, hair[1] * 0.55 + 0.004, hair[2] * 0.55 + 0.004),
        blush=uniform(0.25, 0.8),
        freckles=uniform(0, 0.8) * (rng.random() < 0.35),
        stubble=masculine * uniform(0.0, 0.55),
        beard=bearded * uniform(0.75, 1.0),
        age=uniform(0.1, 1.0),
        eye_x=uniform(0.275, 0.315),
        eye_width=uniform(0.145, 0.168),
        eye_height=uniform(0.054, 0.07) + 0.007 * (not masculine),
        eye_slant=uniform(-0.06, 0.14),
        lid_crease=uniform(0.02, 0.045),
        lashes=uniform(0.5, 0.8) + 0.35 * (not masculine),
        brow_lift=uniform(-0.005, 0.03),
        brow_thickness=uniform(0.028, 0.04) + 0.012 * masculine,
        brow_arch=uniform(0.012, 0.05),
        nose_width=uniform(0.85, 1.15) + 0.1 * masculine + 0.12 * is_dark(skin),
        nose_length=uniform(0.92, 1.08),
        nose_height=uniform(0.85, 1.25),
        mouth_y=uniform(0.585, 0.625),
        mouth_width=uniform(0.225, 0.28),
        upper_lip=uniform(0.034, 0.055),
        lower_lip=uniform(0.05, 0.075),
        cheekbones=uniform(0.3, 1.3),
        chin=uniform(0.5, 1.2),
        texture_seed=int(rng.integers(2**31)),
    )


def sample_glasses(rng: Generator) -> Glasses:
    width = float(rng.uniform(0.19, 0.225))
    return Glasses(
        colour=GLASSES_COLOURS[int(rng.integers(len(GLASSES_COLOURS)))],
        width=width,
        height=width * float(rng.uniform(0.68, 0.95)),
        roundness=float(rng.uniform(2, 4)),
        rim=float(rng.uniform(0.012, 0.024)),
    )


@dataclass(frozen=True)
class Performance:
    """Pose and expression of every frame."""

    poses: list[Pose]
    expressions: list[Expression]


def sample_performance(rng: Generator, frames: int, fps: float, middle: tuple[float, float], unit_px: float) -> Performance:
    """Sample a person who talks or smiles at the camera, looks around, blinks and moves the head slightly."""
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
    tracks = {
        "eyes_open": blinks(rng, seconds) * rng.uniform(0.85, 1.05),
        "gaze_x": glances(rng, seconds) - 0.8 * (yaw - yaw.mean()),
        "gaze_y": 0.5 * glances(rng, seconds),
        "brows_up": np.clip(rng.uniform(-0.2, 0.5) + sway(rng, seconds, 0.35), -0.4, 1),
        "frown": np.clip(rng.uniform(-0.6, 0.3) + sway(rng, seconds, 0.2), 0, 1),
        "smile": np.clip(rng.uniform(0.2, 1.0) + sway(rng, seconds, 0.25), 0, 1.1),
        "mouth_open": np.clip(talk * syllables * rng.uniform(0.6, 1.0), 0, 1),
        "pucker": np.clip(sway(rng, seconds, 0.4) * talk, 0, 0.8),
    }
    expressions = [Expression(**{name: float(values[i]) for name, values in tracks.items()}) for i in range(frames)]
    return Performance(poses, expressions)


def sway(rng: Generator, seconds: np.ndarray, amount: float) -> np.ndarray:
    """A smooth oscillation of about `amount`, the sum of a slow and a fast wave."""
    slow, fast = rng.uniform(1.2, 2.6), rng.uniform(3, 5)
    slow_wave = np.sin(slow * seconds + rng.uniform(0, 6.3))
    return amount * (0.75 * slow_wave + 0.25 * np.sin(fast * seconds + rng.uniform(0, 6.3)))


def blinks(rng: Generator, seconds: np.ndarray) -> np.ndarray:
    """How far the eyes are open at each time, with three random blinks."""
    lids = np.ones_like(seconds)
    for blink_seconds in np.cumsum(rng.uniform(0.5, 2.2, size=3)):
        lids = np.minimum(lids, np.clip(np.abs(seconds - blink_seconds) / 0.13, 0.04, 1))
    return lids


def glances(rng: Generator, seconds: np.ndarray) -> np.ndarray:
    """Gaze direction at each time, constant between random jumps."""
    starts = np.concatenate([[0], np.cumsum(rng.uniform(0.4, 1.4, size=8))])
    return rng.uniform(-0.5, 0.5, size=9)[np.searchsorted(starts, seconds, side="right") - 1]
