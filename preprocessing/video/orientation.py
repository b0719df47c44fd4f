"""Decoded frames -> upright RGB pictures of a requested size, with transparent pixels blended over white."""

import math
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.video.tone_mapping import TRANSFERS, tone_map
from explain_deepfakes.preprocessing.video.video import Picture

Size = tuple[int, int]  # width, height
MAX_PIXEL_RATIO = 4  # of the sides of a stored pixel
HALF_COLOUR = ("yuv420p", "yuvj420p")  # the most common formats: planes of bytes, with colour at half the size


@dataclass(frozen=True)
class Orientation:
    """How to get from the stored pixels to the displayed picture: mirror them first, then rotate them."""

    mirrored: bool
    quarter_turns: int  # counterclockwise

    @classmethod
    def of(cls, frame: VideoFrame) -> "Orientation":
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # raised for side data that PyAV does not know, such as the EXIF data of a photograph
            return cls(False, round(frame.rotation / 90) % 4)
        if matrix is None:
            return cls(False, 0)
        a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).astype(float)
        mirrored = a * d - b * c < 0
        x, y = (-a, -b) if mirrored else (a, b)  # displayed direction of a step to the right along the stored pixels
        return cls(mirrored, round(math.atan2(-y, x) / (math.pi / 2)) % 4)

    def size(self, size: Size) -> Size:
        """The displayed size for a stored size, and the reverse."""
        return (size[1], size[0]) if self.quarter_turns % 2 else size

    def apply(self, picture: Picture) -> Picture:
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, self.quarter_turns)


def displayed_size(width: int, height: int, pixel_ratio: Fraction | None) -> Size:
    """The size of a picture whose stored pixels are not square. The shorter side of a pixel is enlarged."""
    ratio = float(pixel_ratio or 1)
    if not 1 / MAX_PIXEL_RATIO <= ratio <= MAX_PIXEL_RATIO:  # a wrong header
        return width, height
    return (round(width * ratio), height) if ratio >= 1 else (width, round(height / ratio))


class FrameConverter:
    """Converts frames to RGB; caches what swscale computes for a kind of frame."""

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()
        cv2.setNumThreads(1)  # more threads do not speed up such small planes

    def convert(self, frame: VideoFrame, orientation: Orientation, size: Size) -> Picture:
        """Convert a frame to an upright picture of this size. The result is a view that keeps its memory alive."""
        stored_size = orientation.size(size)
        if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
            frame = VideoFrame.from_ndarray(self._blend_over_white(frame), "rgb24")
        elif frame.color_trc in TRANSFERS:
            return orientation.apply(tone_map(self._to_wide_array(frame, stored_size), frame.color_trc))
        elif _can_shrink_planes(frame, stored_size):
            frame = _shrink_planes(frame, stored_size)
        return orientation.apply(self._to_array(frame, "rgb24", stored_size))

    def _blend_over_white(self, frame: VideoFrame) -> Picture:
        pixels = self._to_array(frame, "rgba", (frame.width, frame.height)).astype(np.uint16)
        opacity = pixels[..., 3:]
        return ((pixels[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)

    def _to_array(self, frame: VideoFrame, pixel_format: str, size: Size) -> Picture:
        """Convert and resize in one step, from the luma and chroma planes; downscaling averages areas."""
        width, height = size
        plane = self._reformat(frame, pixel_format, size)
        channels = len(pixel_format.removesuffix("24"))
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return rows[:, : width * channels].reshape(height, width, channels)

    def _to_wide_array(self, frame: VideoFrame, size: Size) -> NDArray[np.uint16]:
        """As `_to_array`, with 16 bits per channel."""
        width, height = size
        plane = self._reformat(frame, "rgb48le", size)
        rows = np.frombuffer(memoryview(plane), "<u2").reshape(height, plane.line_size // 2)
        return rows[:, : width * 3].reshape(height, width, 3)

    def _reformat(self, frame: VideoFrame, pixel_format: str, size: Size) -> VideoPlane:
        interpolation = "BILINEAR" if size == (frame.width, frame.height) else "AREA"
        return self.reformatter.reformat(frame, *size, pixel_format, interpolation=interpolation, threads=1).planes[0]


def _can_shrink_planes(frame: VideoFrame, size: Size) -> bool:
    """Whether the frame is to be downscaled by whole factors."""
    sides = list(zip((frame.width, frame.height), size, strict=True))
    return frame.format.name in HALF_COLOUR and all(side % smaller == 0 and side > smaller for side, smaller in sides)


def _shrink_planes(frame: VideoFrame, size: Size) -> VideoFrame:
    """Downscale each plane: five times as fast as swscale in one step; chroma keeps the codec's lower resolution."""
    smaller = VideoFrame(*size, frame.format.name)
    smaller.colorspace, smaller.color_range = frame.colorspace, frame.color_range
    for plane, target in zip(frame.planes, smaller.planes, strict=True):
        cv2.resize(_as_array(plane), (target.width, target.height), dst=_as_array(target), interpolation=cv2.INTER_AREA)
    return smaller


def _as_array(plane: VideoPlane) -> NDArray[np.uint8]:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
