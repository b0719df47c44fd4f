"""The input contract of a network: a face crop -> the pixels that very network was trained on.

Train, test, explain and serve all go through `prepare`, so that none of them can see other pixels than the others.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from pipeline.params import setting

Image = np.ndarray  # (height, width, 3), uint8, RGB


@dataclass(frozen=True)
class InputContract:
    """A checkpoint carries it; mean and std are in the units that `scale` leaves."""

    size: int = setting("side of the square the network sees, pixels", low=16)
    colour: str = setting("order of the channels", choices=("rgb", "bgr"))
    scale: float = setting("what 0 to 255 is multiplied by")
    mean: tuple[float, ...] = setting("subtracted from each channel after scaling")
    std: tuple[float, ...] = setting("each channel is divided by it")
    resize: str = setting("stretch to the square (by single pixels: nearest), or pad", choices=("stretch", "pad", "nearest"))

    def prepare(self, crops: list[Image]) -> torch.Tensor:
        """Crops of any size -> pixels (b, 3, size, size), float32."""
        resized = torch.from_numpy(np.stack([self.fit(crop) for crop in crops]))
        return self.normalise(resized)

    def fit(self, crop: Image) -> Image:
        """A crop of any size -> the same, size by size pixels."""
        if self.resize == "nearest":
            return cv2.resize(crop, (self.size, self.size), interpolation=cv2.INTER_NEAREST)
        if self.resize == "stretch":
            return resized(crop, self.size, self.size)
        longest = max(crop.shape[:2])
        height, width = (max(1, round(side * self.size / longest)) for side in crop.shape[:2])
        top, left = (self.size - height) // 2, (self.size - width) // 2
        fitted = np.zeros((self.size, self.size, 3), np.uint8)
        fitted[top : top + height, left : left + width] = resized(crop, height, width)
        return fitted

    def unfit(self, heat: np.ndarray, height: int, width: int) -> np.ndarray:
        """A map over what the network saw (size, size) -> the same over the crop's own pixels (height, width)."""
        if self.resize == "pad":
            longest = max(height, width)
            rows, columns = (max(1, round(side * self.size / longest)) for side in (height, width))
            top, left = (self.size - rows) // 2, (self.size - columns) // 2
            heat = heat[top : top + rows, left : left + columns]
        return cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)

    def normalise(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (b, size, size, 3), uint8 RGB -> pixels (b, 3, size, size), float32, laid out channels last."""
        pixels = pictures.permute(0, 3, 1, 2).float()
        if self.colour == "bgr":
            pixels = pixels.flip(1)
        mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return ((pixels * self.scale - mean) / std).contiguous(memory_format=torch.channels_last)


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Smaller by averaging, so that fine noise does not alias; larger by cubic interpolation."""
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height < picture.shape[0]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
