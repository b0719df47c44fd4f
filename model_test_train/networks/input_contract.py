"""Input contract of a network: a face crop -> pixels prepared as they were for that network's training.

Training, testing, explanations and serving all use it, so that they cannot prepare pixels differently.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from explain_deepfakes.pipeline.params import setting

Image = np.ndarray  # (height, width, 3), uint8, RGB
INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True)
class InputContract:
    """Part of every checkpoint; mean and std apply after `scale`."""

    size: int = setting("side of the square input, px", low=16)
    colour: str = setting("order of the colour channels", choices=("rgb", "bgr"))
    scale: float = setting("factor applied to grey levels of 0 to 255")
    mean: tuple[float, ...] = setting("mean of each channel, subtracted after scaling")
    std: tuple[float, ...] = setting("standard deviation of each channel, divided by after the mean is subtracted")
    resize: str = setting(
        "how a crop becomes square: padded; stretched, by the mean where it shrinks; or stretched by one interpolation",
        choices=("stretch", "pad", *INTERPOLATIONS),
    )

    def prepare(self, crops: list[Image]) -> torch.Tensor:
        """Crops of any size -> pixels (b, 3, size, size), float32."""
        return self.normalise(torch.from_numpy(np.stack([self.fit(crop) for crop in crops])))

    def fit(self, crop: Image) -> Image:
        """Resize a crop of any size to size by size pixels."""
        if self.resize in INTERPOLATIONS:
            return cv2.resize(crop, (self.size, self.size), interpolation=INTERPOLATIONS[self.resize])
        if self.resize == "stretch":
            return resize(crop, self.size, self.size)
        longest = max(crop.shape[:2])
        height, width = (max(1, round(side * self.size / longest)) for side in crop.shape[:2])
        top, left = (self.size - height) // 2, (self.size - width) // 2
        fitted = np.zeros((self.size, self.size, 3), np.uint8)
        fitted[top : top + height, left : left + width] = resize(crop, height, width)
        return fitted

    def unfit(self, heat: np.ndarray, height: int, width: int) -> np.ndarray:
        """Map values over the network's input (size, size) back to the crop's own pixels (height, width)."""
        if self.resize == "pad":
            longest = max(height, width)
            rows, columns = (max(1, round(side * self.size / longest)) for side in (height, width))
            top, left = (self.size - rows) // 2, (self.size - columns) // 2
            heat = heat[top : top + rows, left : left + columns]
        return cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)

    def normalise(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (b, size, size, 3), uint8 RGB -> pixels (b, 3, size, size), float32, in channels-last memory layout."""
        pixels = pictures.permute(0, 3, 1, 2).float()
        if self.colour == "bgr":
            pixels = pixels.flip(1)
        mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return ((pixels * self.scale - mean) / std).contiguous(memory_format=torch.channels_last)


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink by averaging, so that fine noise does not alias; enlarge by cubic interpolation."""
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height < picture.shape[0]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
