"""Eight face manipulations; each blends a patch over one region of the face, the mask.

AlphaSwap, PoissonSwap and BottleneckSwap insert another person's face. ExpressionWarp changes the expression: it moves
the features or inserts those of another picture of the same person. EyeSwap inserts another person's eyes.
MouthRerender and InnerFaceFilter keep the features and add the artifacts of generators and enhancement filters.
SelfBlend blends the face with an altered copy of itself.

The inputs are recorded frames, noise included. Outside of the mask, a frame does not change.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.portrait_corpus.animation import RecordedFrame, crop_noise, sensor_noise, sharpen, to_uint8
from explain_deepfakes.preprocessing.portrait_corpus.grids import Array, sample_bicubic, smooth_curve, unit_gaussian
from explain_deepfakes.preprocessing.portrait_corpus.landmarks import FaceAlignment
from explain_deepfakes.preprocessing.portrait_corpus.masks import (
    FACE_REGIONS,
    MIN_ALPHA,
    SIDE_REGIONS,
    chart_grid,
    deform,
    draw_region,
    sample_chart,
    soften,
)

Size = tuple[int, int]  # height, width
PADDING_PX = 6  # context around a patch for filters


@dataclass(frozen=True)
class FacePicture:
    """A picture of a face and the position of the face in it."""

    picture: Array  # (h, w, 3), pixel values
    alignment: FaceAlignment

    def shrink_to(self, unit_px: float) -> "FacePicture":
        """Shrink it to the given distance between the eyes, if that is larger, so sampling does not alias."""
        scale = unit_px / self.alignment.unit_px
        return self if scale >= 1 else resize_face(self, scale)


def resize_face(face: FacePicture, scale: float) -> FacePicture:
    height, width = (max(8, round(side * scale)) for side in face.picture.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return FacePicture(cv2.resize(face.picture, (width, height), interpolation=interpolation), face.alignment.scaled(scale))


@dataclass(frozen=True)
class ManipulationInputs:
    """Inputs shared by the manipulations of one video."""

    target: FacePicture  # the still
    donor: FacePicture | None  # another person, or another picture of the same one
    seconds: NDArray  # of the frames
    noise_sigma: float  # of the sensor


class Manipulation(ABC):
    """Makes the frames of one fake video. The random choices made here apply to all of its frames."""

    swaps_people: ClassVar[bool] = False
    regions: ClassVar[tuple[str, ...]]
    widths: ClassVar[tuple[float, float]] = (0.06, 0.3)  # of the soft edge, chart units

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        self.inputs, self.rng = inputs, rng
        self.target = inputs.target.alignment
        self.alpha = self.draw_alpha()
        self.wobble = np.stack([smooth_curve(rng, inputs.seconds, 0.012, 1.0, 9.0) for _ in range(2)], 1)
        self.flicker = smooth_curve(rng, inputs.seconds, float(rng.uniform(0.3, 2.0)), 1.0, 9.0)
        self.noise_share = float(rng.choice((0.0, rng.uniform(0, 1))))
        self.noise = sensor_noise(rng, 420, 420, inputs.noise_sigma * self.noise_share)

    def draw_alpha(self) -> Array:
        region = draw_region(str(self.rng.choice(self.regions)), self.target.turn, self.rng)
        return soften(region, float(self.rng.uniform(*self.widths)))

    @abstractmethod
    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        """The patch to blend over the window, whose recorded pixels are `under`."""

    def apply(self, recorded: RecordedFrame) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The manipulated frame and the mask of the pixels that may differ from the recorded one."""
        fake, mask = recorded.frame.copy(), np.zeros(recorded.frame.shape[:2], bool)
        alpha = sample_chart(self.alpha, recorded.chart + self.wobble[recorded.index])
        alpha[alpha < MIN_ALPHA] = 0
        if not alpha.any():
            return fake, mask
        box = padded_bounding_box(alpha > 0)
        recorded, alpha = recorded.crop(*box), np.ascontiguousarray(alpha[box])
        under = recorded.frame[recorded.window].astype(np.float32)
        patch = self.render(recorded, under, alpha) + self.flicker[recorded.index]
        patch = patch + self._crop_noise((alpha.shape[0], alpha.shape[1]))
        fake[recorded.window] = to_uint8(under + (patch - under) * alpha[..., None])
        mask[recorded.window] = alpha > 0
        return fake, mask

    def _crop_noise(self, size: Size) -> Array:
        if min(self.noise.shape[:2]) < max(size):
            self.noise = sensor_noise(self.rng, max(size), max(size), self.inputs.noise_sigma * self.noise_share)
        return crop_noise(self.noise, self.rng, *size)


def padded_bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The bounding box of the mask, padded by PADDING_PX within the picture."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    height, width = mask.shape
    return (
        slice(max(int(rows[0]) - PADDING_PX, 0), min(int(rows[-1]) + 1 + PADDING_PX, height)),
        slice(max(int(columns[0]) - PADDING_PX, 0), min(int(columns[-1]) + 1 + PADDING_PX, width)),
    )


class _DonorManipulation(Manipulation):
    """A manipulation that samples another picture."""

    swaps_people = True
    regions: ClassVar[tuple[str, ...]] = FACE_REGIONS

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        super().__init__(inputs, rng)
        assert inputs.donor is not None
        self.donor = inputs.donor.shrink_to(inputs.target.alignment.unit_px)
        self.donor_coordinates = _chart_map(self.donor.alignment)
        self.placement_error = rng.normal(0, 0.012, 2).astype(np.float32)
        self.colour_matching = float(rng.uniform(0.8, 1.0))
        self.sharpness = float(rng.choice((0.0, 0.0, rng.uniform(0.3, 1.0))))

    def face_coordinates(self, recorded: RecordedFrame) -> Array:
        """Estimated face coordinates of the pixels, with the placement errors of a manipulation."""
        return recorded.chart + self.placement_error + 0.7 * self.wobble[recorded.index]

    def donor_face(self, recorded: RecordedFrame) -> Array:
        """The donor's face warped to the target's pose, blinks and jaw position."""
        face = sample_bicubic(self.donor.picture, sample_chart(self.donor_coordinates, self.face_coordinates(recorded)))
        return sharpen(face, 1.0, self.sharpness) if self.sharpness else face


class AlphaSwap(_DonorManipulation):
    """The donor's face in the target's colours, alpha-blended at its edge."""

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        return match_colours(self.donor_face(recorded), under, alpha, self.colour_matching)


class PoissonSwap(_DonorManipulation):
    """The donor's face inserted by Poisson blending."""

    widths = (0.02, 0.08)

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        patch = match_colours(self.donor_face(recorded), under, alpha, 0.6 * self.colour_matching)
        return poisson_clone(patch, under, alpha > 0)


class BottleneckSwap(_DonorManipulation):
    """The donor's face from a low-resolution decoder of 64 to 128 pixels per side."""

    widths = (0.1, 0.4)
    CORNER, SIDE = (-1.2, -0.72), 2.4  # of the decoder's output, chart units

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        super().__init__(inputs, rng)
        self.side_px = int(rng.integers(64, 129))
        small = self.donor.shrink_to(self.side_px / self.SIDE)
        steps = (np.arange(self.side_px, dtype=np.float32) + 0.5) * np.float32(self.SIDE / self.side_px)
        square = np.stack(np.meshgrid(steps + np.float32(self.CORNER[0]), steps + np.float32(self.CORNER[1])), -1)
        face = sample_bicubic(small.picture, small.alignment.to_picture(square.reshape(-1, 2)).reshape(square.shape))
        if rng.random() < 0.5:
            face = cv2.bilateralFilter(face, 5, float(rng.uniform(10, 30)), 2)
        self.decoded = face

    def donor_face(self, recorded: RecordedFrame) -> Array:
        offsets = self.face_coordinates(recorded) - np.array(self.CORNER, np.float32)
        coordinates = offsets * np.float32(self.side_px / self.SIDE)
        face = sample_bicubic(self.decoded, coordinates - np.float32(0.5))
        return sharpen(face, 1.2, self.sharpness) if self.sharpness else face

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        return match_colours(self.donor_face(recorded), under, alpha, self.colour_matching)


class RerenderingArtifacts:
    """Simulates the loss of detail and the colour shift of a generator network."""

    def __init__(self, unit_px: float, rng: Generator, strength: float = 1.0) -> None:
        self.kind = str(rng.choice(("bottleneck", "bottleneck", "bilateral", "mixed")))
        # Small faces have less detail to lose.
        self.scale = float(np.clip(rng.uniform(22, 42) / unit_px / strength, 0.3, 0.8))
        self.tolerance = float(rng.uniform(18, 45)) * strength
        self.sharpness = float(rng.uniform(0.2, 1.2))
        self.shift = (rng.normal(0, 1.6, 3) * strength).astype(np.float32)
        self.contrast = 1 + float(rng.normal(0, 0.04))

    def __call__(self, picture: Array) -> Array:
        drawn = picture
        if self.kind in ("bottleneck", "mixed"):
            drawn = apply_bottleneck(drawn, self.scale)
        if self.kind in ("bilateral", "mixed"):
            drawn = cv2.bilateralFilter(np.ascontiguousarray(drawn), 7, self.tolerance, 2.5)
        drawn = sharpen(drawn, 1.2, self.sharpness)
        middle = drawn.mean((0, 1), keepdims=True)
        return (drawn - middle) * np.float32(self.contrast) + middle + self.shift


class MouthRerender(Manipulation):
    """The mouth region of the same person, moved slightly and with the artifacts of a generator; no visible seam."""

    regions = ("mouth", "mouth", "narrow mouth", "nose to chin", "lower face")
    widths = (0.12, 0.3)

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        super().__init__(inputs, rng)
        self.rerender = RerenderingArtifacts(self.target.unit_px, rng)
        self.feature_offsets = np.stack([smooth_curve(rng, inputs.seconds, 0.035, 0.5, 4.0) for _ in range(3)], 1)

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        lips, jaw, widening = self.feature_offsets[recorded.index]
        displacement = mouth_displacement(recorded.chart, jaw, lips, widening)
        return self.rerender(warp_window(under, recorded.chart, self.target, displacement))


class ExpressionWarp(_DonorManipulation):
    """Another expression on the same face: displaced features, or those of another picture of the person."""

    swaps_people = False
    regions = ("nose to chin", "lower face", "mouth", "face", "upper face", "eyes and brows")
    widths = (0.12, 0.3)

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        self.uses_donor = inputs.donor is not None and rng.random() < 0.6
        super().__init__(replace(inputs, donor=inputs.donor or inputs.target), rng)
        self.rerender = RerenderingArtifacts(self.target.unit_px, rng, 0.8)
        sizes = (0.06, 0.05, 0.06, 0.07, 0.06)  # jaw, lips, width, brows, lids
        offsets = [float(rng.choice((-1, 1)) * rng.uniform(0.4, 1.2) * size) for size in sizes]
        waves = [smooth_curve(rng, inputs.seconds, size, 0.5, 4.0) for size in sizes]
        self.feature_offsets = np.stack([wave + offset for wave, offset in zip(waves, offsets, strict=True)], 1)

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        if self.uses_donor:
            return self.rerender(match_colours(self.donor_face(recorded), under, alpha, self.colour_matching))
        jaw, lips, widening, brows, lids = self.feature_offsets[recorded.index]
        displacement = mouth_displacement(recorded.chart, jaw, lips, widening) + eye_displacement(recorded.chart, brows, lids)
        return self.rerender(warp_window(under, recorded.chart, self.target, displacement))


class EyeSwap(_DonorManipulation):
    """The donor's eyes, or the target's own eyes with the artifacts of a generator."""

    regions = ("eyes", "eyes and brows")
    widths = (0.08, 0.22)

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        super().__init__(inputs, rng)
        self.rerender = RerenderingArtifacts(self.target.unit_px, rng)
        self.rerenders_target = rng.random() < 0.25

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        if self.rerenders_target:
            return self.rerender(under)
        return match_colours(self.donor_face(recorded), under, alpha, self.colour_matching)


class SelfBlend(Manipulation):
    """The face blended with a copy of itself of another position, colour, sharpness or resolution."""

    regions = (*FACE_REGIONS, *SIDE_REGIONS, "mouth", "eyes and brows", "nose to chin")

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        super().__init__(inputs, rng)
        self.gains = (1 + rng.normal(0, 0.035, 3)).astype(np.float32)
        self.offset = rng.normal(0, 3.5, 3).astype(np.float32)
        self.saturation = float(rng.uniform(0.75, 1.3))
        self.degradation = str(rng.choice(("sharpen", "soften", "shrink", "none")))
        self.amount = float(rng.uniform(0.3, 1.0))
        self.shift = rng.normal(0, 0.04, 2).astype(np.float32)
        self.size = 1 + float(rng.normal(0, 0.025))

    def draw_alpha(self) -> Array:
        region = deform(draw_region(str(self.rng.choice(self.regions)), self.target.turn, self.rng), self.rng, 0.035)
        hard = self.rng.random() < 0.25
        opacity = float(self.rng.choice((0.5, 0.75, 1.0, 1.0)))
        return soften(region, 0.03 if hard else float(self.rng.uniform(*self.widths))) * np.float32(opacity)

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        middle = np.array([0, 0.6], np.float32)
        displacement = (recorded.chart - middle) * np.float32(self.size - 1) + self.shift
        altered = warp_window(under, recorded.chart, self.target, displacement)
        grey = altered @ np.array([0.299, 0.587, 0.114], np.float32)
        altered = grey[..., None] + (altered - grey[..., None]) * np.float32(self.saturation)
        return self._degraded(altered * self.gains + self.offset)

    def _degraded(self, altered: Array) -> Array:
        if self.degradation == "sharpen":
            return sharpen(altered, 1.2, 1.5 * self.amount)
        if self.degradation == "soften":
            return cv2.GaussianBlur(altered, (0, 0), 0.5 + self.amount)
        return apply_bottleneck(altered, 0.85 - 0.5 * self.amount) if self.degradation == "shrink" else altered


class InnerFaceFilter(Manipulation):
    """The inner face enhanced: super-resolution from fewer pixels, or denoising, with sharpening."""

    regions = ("face", "wide face", "narrow face", "nose to chin")
    widths = (0.1, 0.4)

    def __init__(self, inputs: ManipulationInputs, rng: Generator) -> None:
        super().__init__(inputs, rng)
        self.denoises = rng.random() < 0.5
        self.strength = float(rng.uniform(5, 11))
        self.scale = float(np.clip(rng.uniform(22, 40) / self.target.unit_px, 0.3, 0.75))
        self.sharpness = float(rng.uniform(0.5, 1.8))

    def render(self, recorded: RecordedFrame, under: Array, alpha: Array) -> Array:
        if self.denoises:
            smooth = cv2.fastNlMeansDenoisingColored(to_uint8(under), None, self.strength, self.strength, 3, 9)
            return sharpen(smooth.astype(np.float32), 1.5, 0.6 * self.sharpness)
        return sharpen(apply_bottleneck(under, self.scale), 1.4, self.sharpness)


METHODS: dict[str, type[Manipulation]] = {
    method.__name__: method
    for method in (
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


def match_colours(patch: Array, under: Array, alpha: Array, share: float) -> Array:
    """Move the mean and standard deviation of each CIE Lab channel by `share` towards those of the pixels below."""
    inside = (alpha > 0.3 * alpha.max()).astype(np.uint8)
    patch_lab, target_lab = (
        cv2.cvtColor(np.clip(picture, 0, 255) / np.float32(255), cv2.COLOR_RGB2LAB) for picture in (patch, under)
    )
    (mean, spread), (target_mean, target_spread) = (cv2.meanStdDev(lab, mask=inside) for lab in (patch_lab, target_lab))
    gain = 1 + share * (np.clip(target_spread / np.maximum(spread, 1e-3), 0.6, 1.6) - 1)
    offset = mean + share * (target_mean - mean) - mean * gain
    matched = patch_lab * gain[:, 0].astype(np.float32) + offset[:, 0].astype(np.float32)
    return cv2.cvtColor(matched, cv2.COLOR_LAB2RGB) * np.float32(255)


def poisson_clone(patch: Array, under: Array, inside: NDArray[np.bool_]) -> Array:
    """Poisson blending without displacement: seamlessClone centres the mask's bounding box on the given point."""
    mask = np.zeros(inside.shape, np.uint8)
    mask[2:-2, 2:-2] = inside[2:-2, 2:-2]
    if cv2.countNonZero(mask) < 16:
        return under
    left, top, width, height = cv2.boundingRect(mask)
    middle = left + width // 2, top + height // 2
    result = cv2.seamlessClone(to_uint8(patch), to_uint8(under), mask * 255, middle, cv2.NORMAL_CLONE)
    return result.astype(np.float32)


def _chart_map(face: FaceAlignment) -> Array:
    """Pixel coordinates in the picture of the face for each pixel of a drawn chart."""
    grid = np.stack(chart_grid(), -1)
    return face.to_picture(grid.reshape(-1, 2)).reshape(grid.shape).astype(np.float32)


def apply_bottleneck(picture: Array, scale: float) -> Array:
    """Downscale the picture and upscale it again, which removes detail."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(4, round(width * scale)), max(4, round(height * scale))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def warp_window(under: Array, chart: Array, face: FaceAlignment, displacement: Array) -> Array:
    """Displace the pixels of the window; `displacement` is in chart units."""
    height, width = under.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return sample_bicubic(under, np.stack([x, y], -1) + displacement @ face.matrix.T)


def mouth_displacement(chart: Array, jaw: float, lips: float, widening: float) -> Array:
    """Displacement field that lowers the jaw, raises the upper lip and moves the corners of the mouth apart."""
    lower, upper = unit_gaussian(chart, (0, 1.42), (0.6, 0.3)), unit_gaussian(chart, (0, 0.93), (0.4, 0.13))
    sideways = unit_gaussian(chart, (0.44, 1.05), (0.28, 0.26)) - unit_gaussian(chart, (-0.44, 1.05), (0.28, 0.26))
    return np.stack([-widening * sideways, -jaw * lower + 0.6 * lips * upper], -1).astype(np.float32)


def eye_displacement(chart: Array, brows: float, lids: float) -> Array:
    """Displacement field that raises the brows and opens the eyes."""
    raised = sum(unit_gaussian(chart, (side * 0.5, -0.36), (0.4, 0.14)) for side in (-1, 1))
    opened = sum(unit_gaussian(chart, (side * 0.5, -0.03), (0.3, 0.14)) * (chart[..., 1] - 0.05) for side in (-1, 1))
    return np.stack([np.zeros_like(chart[..., 0]), brows * raised - 6 * lids * opened], -1).astype(np.float32)
