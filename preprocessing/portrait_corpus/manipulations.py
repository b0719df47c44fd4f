"""Eight ways to tamper with a face in a video; each lays a patch over a part of the face, the mask.

AlphaSwap, PoissonSwap and BottleneckSwap put another person's face there. ExpressionWarp changes the expression: the
features move, or those of another picture of the same person are put there. EyeSwap takes the eyes of somebody else.
MouthRerender and InnerFaceFilter leave features in their places, and pass a part through what generators and
enhancement do to a picture. SelfBlend blends a face with a changed copy of itself.

A manipulation sees recorded frames, noise included. Outside of its mask, a frame stays as it is.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from preprocessing.portrait_corpus.animation import Moment, cut_grain, grain, sharpened, to_bytes
from preprocessing.portrait_corpus.grids import Array, sample, smooth_curve, unit_gaussian
from preprocessing.portrait_corpus.landmarks import FaceFrame
from preprocessing.portrait_corpus.masks import FACE_PARTS, LEAST_ALPHA, SIDES, chart_grid, deform, draw_part, look_up, soften

Size = tuple[int, int]  # height, width
PADDING_PX = 6  # around a patch, so that filters see what is next to it


@dataclass(frozen=True)
class Face:
    """A picture of a face, and where the face lies in it."""

    picture: Array  # (h, w, 3), pixel values
    frame: FaceFrame

    def no_larger_than(self, unit_px: float) -> "Face":
        """Shrunk to that distance of the eyes, if it is larger: then it can be sampled without aliasing."""
        scale = unit_px / self.frame.unit_px
        return self if scale >= 1 else resized(self, scale)


def resized(face: Face, scale: float) -> Face:
    height, width = (max(8, round(side * scale)) for side in face.picture.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return Face(cv2.resize(face.picture, (width, height), interpolation=way), face.frame.scaled(scale))


@dataclass(frozen=True)
class Setting:
    """What the manipulations of one video start from."""

    target: Face  # the still
    donor: Face | None  # another person, or another picture of the same one
    seconds: NDArray  # of the frames
    noise: float  # of the sensor


class Manipulation(ABC):
    """One fake video; what is drawn here stays the same in all of its frames."""

    swaps_people: ClassVar[bool] = False
    parts: ClassVar[tuple[str, ...]]
    widths: ClassVar[tuple[float, float]] = (0.06, 0.3)  # of the soft edge, chart units

    def __init__(self, setting: Setting, rng: Generator) -> None:
        self.setting, self.rng = setting, rng
        self.target = setting.target.frame
        self.alpha = self.draw_alpha()
        self.wobble = np.stack([smooth_curve(rng, setting.seconds, 0.012, 1.0, 9.0) for _ in range(2)], 1)
        self.flicker = smooth_curve(rng, setting.seconds, float(rng.uniform(0.3, 2.0)), 1.0, 9.0)
        self.grain_share = float(rng.choice((0.0, rng.uniform(0, 1))))
        self.grain = grain(rng, 420, 420, setting.noise * self.grain_share)

    def draw_alpha(self) -> Array:
        part = draw_part(str(self.rng.choice(self.parts)), self.target.turn, self.rng)
        return soften(part, float(self.rng.uniform(*self.widths)))

    @abstractmethod
    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        """What is laid over the window, whose recorded pixels are `under`."""

    def apply(self, moment: Moment) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The manipulated frame, and where it may differ from the recorded one."""
        fake, mask = moment.frame.copy(), np.zeros(moment.frame.shape[:2], bool)
        alpha = look_up(self.alpha, moment.chart + self.wobble[moment.index])
        alpha[alpha < LEAST_ALPHA] = 0
        if not alpha.any():
            return fake, mask
        box = box_of(alpha > 0)
        moment, alpha = moment.cropped(*box), np.ascontiguousarray(alpha[box])
        under = moment.frame[moment.window].astype(np.float32)
        patch = self.render(moment, under, alpha) + self.flicker[moment.index] + self._grain((alpha.shape[0], alpha.shape[1]))
        fake[moment.window] = to_bytes(under + (patch - under) * alpha[..., None])
        mask[moment.window] = alpha > 0
        return fake, mask

    def _grain(self, size: Size) -> Array:
        if min(self.grain.shape[:2]) < max(size):
            self.grain = grain(self.rng, max(size), max(size), self.setting.noise * self.grain_share)
        return cut_grain(self.grain, self.rng, *size)


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Around all that is set, with some pixels more, where they exist."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    height, width = mask.shape
    return (
        slice(max(int(rows[0]) - PADDING_PX, 0), min(int(rows[-1]) + 1 + PADDING_PX, height)),
        slice(max(int(columns[0]) - PADDING_PX, 0), min(int(columns[-1]) + 1 + PADDING_PX, width)),
    )


class _Swap(Manipulation):
    swaps_people = True
    parts: ClassVar[tuple[str, ...]] = FACE_PARTS

    def __init__(self, setting: Setting, rng: Generator) -> None:
        super().__init__(setting, rng)
        assert setting.donor is not None
        self.donor = setting.donor.no_larger_than(setting.target.frame.unit_px)
        self.donor_places = _chart_map(self.donor.frame)
        self.misplaced = rng.normal(0, 0.012, 2).astype(np.float32)
        self.matching = float(rng.uniform(0.8, 1.0))
        self.sharpness = float(rng.choice((0.0, 0.0, rng.uniform(0.3, 1.0))))

    def places(self, moment: Moment) -> Array:
        """Where on the face each pixel lies, as well as the forger knows."""
        return moment.chart + self.misplaced + 0.7 * self.wobble[moment.index]

    def donor_face(self, moment: Moment) -> Array:
        """The donor's face in the pose, and with the blinks and jaw, of the target."""
        face = sample(self.donor.picture, look_up(self.donor_places, self.places(moment)))
        return sharpened(face, 1.0, self.sharpness) if self.sharpness else face


class AlphaSwap(_Swap):
    """Another's face with the target's colours, faded in at its edge."""

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        return coloured_like(self.donor_face(moment), under, alpha, self.matching)


class PoissonSwap(_Swap):
    """Another's face whose gradients go on from the target's colours at the edge."""

    widths = (0.02, 0.08)

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        patch = coloured_like(self.donor_face(moment), under, alpha, 0.6 * self.matching)
        return cloned(patch, under, alpha > 0)


class BottleneckSwap(_Swap):
    """Another's face as a decoder of few pixels gives it: 64 to 128 for the whole of it."""

    widths = (0.1, 0.4)
    CORNER, SIDE = (-1.2, -0.72), 2.4  # of the square that the decoder draws, chart units

    def __init__(self, setting: Setting, rng: Generator) -> None:
        super().__init__(setting, rng)
        self.side_px = int(rng.integers(64, 129))
        small = self.donor.no_larger_than(self.side_px / self.SIDE)
        steps = (np.arange(self.side_px, dtype=np.float32) + 0.5) * np.float32(self.SIDE / self.side_px)
        square = np.stack(np.meshgrid(steps + np.float32(self.CORNER[0]), steps + np.float32(self.CORNER[1])), -1)
        face = sample(small.picture, small.frame.to_picture(square.reshape(-1, 2)).reshape(square.shape))
        if rng.random() < 0.5:
            face = cv2.bilateralFilter(face, 5, float(rng.uniform(10, 30)), 2)
        self.decoded = face

    def donor_face(self, moment: Moment) -> Array:
        where = (self.places(moment) - np.array(self.CORNER, np.float32)) * np.float32(self.side_px / self.SIDE)
        face = sample(self.decoded, where - np.float32(0.5))
        return sharpened(face, 1.2, self.sharpness) if self.sharpness else face

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        return coloured_like(self.donor_face(moment), under, alpha, self.matching)


class Rerendering:
    """What a picture loses and gets when a network draws it anew."""

    def __init__(self, unit_px: float, rng: Generator, strength: float = 1.0) -> None:
        self.kind = str(rng.choice(("bottleneck", "bottleneck", "bilateral", "mixed")))
        # Of few pixels there is less to lose.
        self.scale = float(np.clip(rng.uniform(22, 42) / unit_px / strength, 0.3, 0.8))
        self.tolerance = float(rng.uniform(18, 45)) * strength
        self.sharpness = float(rng.uniform(0.2, 1.2))
        self.shift = (rng.normal(0, 1.6, 3) * strength).astype(np.float32)
        self.contrast = 1 + float(rng.normal(0, 0.04))

    def __call__(self, picture: Array) -> Array:
        drawn = picture
        if self.kind in ("bottleneck", "mixed"):
            drawn = through_bottleneck(drawn, self.scale)
        if self.kind in ("bilateral", "mixed"):
            drawn = cv2.bilateralFilter(np.ascontiguousarray(drawn), 7, self.tolerance, 2.5)
        drawn = sharpened(drawn, 1.2, self.sharpness)
        middle = drawn.mean((0, 1), keepdims=True)
        return (drawn - middle) * np.float32(self.contrast) + middle + self.shift


class MouthRerender(Manipulation):
    """The mouth and what is near it, drawn anew where it was; no seam, and nobody else."""

    parts = ("mouth", "mouth", "narrow mouth", "nose to chin", "lower face")
    widths = (0.12, 0.3)

    def __init__(self, setting: Setting, rng: Generator) -> None:
        super().__init__(setting, rng)
        self.drawn_anew = Rerendering(self.target.unit_px, rng)
        self.moves = np.stack([smooth_curve(rng, setting.seconds, 0.035, 0.5, 4.0) for _ in range(3)], 1)

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        lips, jaw, wide = self.moves[moment.index]
        return self.drawn_anew(moved(under, moment.chart, self.target, mouth_move(moment.chart, jaw, lips, wide)))


class ExpressionWarp(_Swap):
    """Another expression on the same face: features that move, or those of another picture of the person."""

    swaps_people = False
    parts = ("nose to chin", "lower face", "mouth", "face", "upper face", "eyes and brows")
    widths = (0.12, 0.3)

    def __init__(self, setting: Setting, rng: Generator) -> None:
        self.borrows = setting.donor is not None and rng.random() < 0.6
        super().__init__(replace(setting, donor=setting.donor or setting.target), rng)
        self.drawn_anew = Rerendering(self.target.unit_px, rng, 0.8)
        sizes = (0.06, 0.05, 0.06, 0.07, 0.06)  # jaw, lips, width, brows, lids
        held = [float(rng.choice((-1, 1)) * rng.uniform(0.4, 1.2) * size) for size in sizes]
        waves = [smooth_curve(rng, setting.seconds, size, 0.5, 4.0) for size in sizes]
        self.moves = np.stack([wave + hold for wave, hold in zip(waves, held, strict=True)], 1)

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        if self.borrows:
            return self.drawn_anew(coloured_like(self.donor_face(moment), under, alpha, self.matching))
        jaw, lips, wide, brows, lids = self.moves[moment.index]
        move = mouth_move(moment.chart, jaw, lips, wide) + eye_move(moment.chart, brows, lids)
        return self.drawn_anew(moved(under, moment.chart, self.target, move))


class EyeSwap(_Swap):
    """Somebody else's eyes, or one's own drawn anew."""

    parts = ("eyes", "eyes and brows")
    widths = (0.08, 0.22)

    def __init__(self, setting: Setting, rng: Generator) -> None:
        super().__init__(setting, rng)
        self.drawn_anew = Rerendering(self.target.unit_px, rng)
        self.own = rng.random() < 0.25

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        if self.own:
            return self.drawn_anew(under)
        return coloured_like(self.donor_face(moment), under, alpha, self.matching)


class SelfBlend(Manipulation):
    """A face blended with a copy of itself that has another place, colour, sharpness or resolution."""

    parts = (*FACE_PARTS, *SIDES, "mouth", "eyes and brows", "nose to chin")

    def __init__(self, setting: Setting, rng: Generator) -> None:
        super().__init__(setting, rng)
        self.gains = (1 + rng.normal(0, 0.035, 3)).astype(np.float32)
        self.offset = rng.normal(0, 3.5, 3).astype(np.float32)
        self.saturation = float(rng.uniform(0.75, 1.3))
        self.change = str(rng.choice(("sharpen", "soften", "shrink", "none")))
        self.amount = float(rng.uniform(0.3, 1.0))
        self.shift = rng.normal(0, 0.04, 2).astype(np.float32)
        self.size = 1 + float(rng.normal(0, 0.025))

    def draw_alpha(self) -> Array:
        part = deform(draw_part(str(self.rng.choice(self.parts)), self.target.turn, self.rng), self.rng, 0.035)
        hard = self.rng.random() < 0.25
        opacity = float(self.rng.choice((0.5, 0.75, 1.0, 1.0)))
        return soften(part, 0.03 if hard else float(self.rng.uniform(*self.widths))) * np.float32(opacity)

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        middle = np.array([0, 0.6], np.float32)
        copy = moved(under, moment.chart, self.target, (moment.chart - middle) * np.float32(self.size - 1) + self.shift)
        grey = copy @ np.array([0.299, 0.587, 0.114], np.float32)
        copy = grey[..., None] + (copy - grey[..., None]) * np.float32(self.saturation)
        return self._degraded(copy * self.gains + self.offset)

    def _degraded(self, copy: Array) -> Array:
        if self.change == "sharpen":
            return sharpened(copy, 1.2, 1.5 * self.amount)
        if self.change == "soften":
            return cv2.GaussianBlur(copy, (0, 0), 0.5 + self.amount)
        return through_bottleneck(copy, 0.85 - 0.5 * self.amount) if self.change == "shrink" else copy


class InnerFaceFilter(Manipulation):
    """The inner face enhanced: super-resolution of fewer pixels, or denoising, with sharpening."""

    parts = ("face", "wide face", "narrow face", "nose to chin")
    widths = (0.1, 0.4)

    def __init__(self, setting: Setting, rng: Generator) -> None:
        super().__init__(setting, rng)
        self.denoises = rng.random() < 0.5
        self.strength = float(rng.uniform(5, 11))
        self.scale = float(np.clip(rng.uniform(22, 40) / self.target.unit_px, 0.3, 0.75))
        self.sharpness = float(rng.uniform(0.5, 1.8))

    def render(self, moment: Moment, under: Array, alpha: Array) -> Array:
        if self.denoises:
            smooth = cv2.fastNlMeansDenoisingColored(to_bytes(under), None, self.strength, self.strength, 3, 9)
            return sharpened(smooth.astype(np.float32), 1.5, 0.6 * self.sharpness)
        return sharpened(through_bottleneck(under, self.scale), 1.4, self.sharpness)


METHODS: dict[str, type[Manipulation]] = {
    one.__name__: one
    for one in (
        AlphaSwap,
        PoissonSwap,
        BottleneckSwap,
        ExpressionWarp,
        MouthRerender,
        EyeSwap,
        SelfBlend,
        InnerFaceFilter,
    )
}


def coloured_like(patch: Array, under: Array, alpha: Array, share: float) -> Array:
    """Mean and spread of each channel in CIE Lab moved that far towards those of what lies under it."""
    inside = (alpha > 0.3 * alpha.max()).astype(np.uint8)
    ours, theirs = (cv2.cvtColor(np.clip(picture, 0, 255) / np.float32(255), cv2.COLOR_RGB2LAB) for picture in (patch, under))
    (mean, spread), (wanted_mean, wanted_spread) = (cv2.meanStdDev(lab, mask=inside) for lab in (ours, theirs))
    gain = 1 + share * (np.clip(wanted_spread / np.maximum(spread, 1e-3), 0.6, 1.6) - 1)
    offset = mean + share * (wanted_mean - mean) - mean * gain
    matched = ours * gain[:, 0].astype(np.float32) + offset[:, 0].astype(np.float32)
    return cv2.cvtColor(matched, cv2.COLOR_LAB2RGB) * np.float32(255)


def cloned(patch: Array, under: Array, inside: NDArray[np.bool_]) -> Array:
    """OpenCV's seamlessClone puts the middle of the mask's bounding box at a point; here everything stays in place."""
    mask = np.zeros(inside.shape, np.uint8)
    mask[2:-2, 2:-2] = inside[2:-2, 2:-2]
    if cv2.countNonZero(mask) < 16:
        return under
    left, top, width, height = cv2.boundingRect(mask)
    middle = left + width // 2, top + height // 2
    result = cv2.seamlessClone(to_bytes(patch), to_bytes(under), mask * 255, middle, cv2.NORMAL_CLONE)
    return result.astype(np.float32)


def _chart_map(face: FaceFrame) -> Array:
    """Where each pixel of a drawn chart lies in the picture of the face."""
    grid = np.stack(chart_grid(), -1)
    return face.to_picture(grid.reshape(-1, 2)).reshape(grid.shape).astype(np.float32)


def through_bottleneck(picture: Array, scale: float) -> Array:
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(4, round(width * scale)), max(4, round(height * scale))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def moved(under: Array, chart: Array, face: FaceFrame, move: Array) -> Array:
    """The window, each pixel taken from somewhere else on the face: `move` is in units of the chart."""
    height, width = under.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return sample(under, np.stack([x, y], -1) + move @ face.matrix.T)


def mouth_move(chart: Array, jaw: float, lips: float, wide: float) -> Array:
    """Jaw down, upper lip up, corners apart: from where on the face its new look is taken."""
    lower, upper = unit_gaussian(chart, (0, 1.42), (0.6, 0.3)), unit_gaussian(chart, (0, 0.93), (0.4, 0.13))
    sideways = unit_gaussian(chart, (0.44, 1.05), (0.28, 0.26)) - unit_gaussian(chart, (-0.44, 1.05), (0.28, 0.26))
    return np.stack([-wide * sideways, -jaw * lower + 0.6 * lips * upper], -1).astype(np.float32)


def eye_move(chart: Array, brows: float, lids: float) -> Array:
    raised = sum(unit_gaussian(chart, (side * 0.5, -0.36), (0.4, 0.14)) for side in (-1, 1))
    opened = sum(unit_gaussian(chart, (side * 0.5, -0.03), (0.3, 0.14)) * (chart[..., 1] - 0.05) for side in (-1, 1))
    return np.stack([np.zeros_like(chart[..., 0]), brows * raised - 6 * lids * opened], -1).astype(np.float32)
