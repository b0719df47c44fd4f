"""Self-blending: a fake made from one real face (the idea of Shiohara and Yamasaki 2022).

A copy of the face, its colours changed, a little moved and coarser or finer, is blended over the face itself inside a mask of a
face's shape. All that tells it from the real one is the blending, which is what most manipulations have in common.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from model_test_train.augmentations.chance import Chance
from pipeline.params import setting

Picture = np.ndarray  # (height, width, 3) uint8, a face with some margin around it
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # how much of the copy is seen
CORNERS = 24  # of the mask's outline
VISIBLE = 0.1  # of the copy, from where a pixel counts as changed


@dataclass(frozen=True)
class SelfBlend(Chance):
    shift: float = setting("of the copy, in sides of the crop, at most", low=0, high=0.2)
    colour: float = setting("change of the copy's colours, at most", low=0, high=1)

    def forge(self, crop: Picture, rng: Generator) -> tuple[Picture, np.ndarray]:
        """The fake, and which of its pixels are changed."""
        copy = self._moved(self._recoloured(crop, rng), rng)
        weight = rng.choice(RATIOS) * face_mask(crop.shape[0], crop.shape[1], rng)
        fake = crop + weight[..., None] * (copy - crop.astype(np.float32))
        return np.clip(np.rint(fake), 0, 255).astype(np.uint8), weight > VISIBLE

    def _recoloured(self, crop: Picture, rng: Generator) -> np.ndarray:
        copy = crop.astype(np.float32)
        mean = copy.mean((0, 1))
        gain, lift = 1 + self.colour * rng.uniform(-1, 1), 255 * self.colour * rng.uniform(-0.5, 0.5, 3)
        copy = (copy - mean) * gain + mean + lift
        soft = cv2.GaussianBlur(copy, (0, 0), rng.uniform(0.5, 1.5))
        sharper = rng.random() < 0.5
        return copy + rng.random() * ((copy - soft) if sharper else (soft - copy))

    def _moved(self, copy: np.ndarray, rng: Generator) -> np.ndarray:
        height, width = copy.shape[:2]
        scale, (right, down) = 1 + self.shift * rng.uniform(-1, 1), self.shift * rng.uniform(-1, 1, 2) * (width, height)
        move = cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale)
        move[:, 2] += right, down
        return cv2.warpAffine(copy, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def face_mask(height: int, width: int, rng: Generator) -> np.ndarray:
    """An oval of the face or of a part of it, its outline bent and its edge soft: (height, width) from 0 to 1."""
    centre, radii = rng.choice(FACE_PARTS)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    waves = sum(rng.uniform(-0.1, 0.1) * np.cos(number * angles + rng.uniform(0, 2 * np.pi)) for number in (2, 3, 5))
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * (1 + waves)[:, None] * radii * rng.uniform(0.8, 1.1)
    corners = ((outline + centre) * (width, height)).round().astype(np.int32)
    mask = cv2.fillPoly(np.zeros((height, width), np.float32), [corners], 1.0)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.005, 0.06) * width)


# Middle and radii, in sides of the crop: the whole face twice as often as its upper part, the mouth, and either side.
FACE_PARTS = np.array(
    [
        [[0.5, 0.52], [0.28, 0.34]],
        [[0.5, 0.52], [0.28, 0.34]],
        [[0.5, 0.42], [0.28, 0.14]],
        [[0.5, 0.68], [0.18, 0.13]],
        [[0.38, 0.52], [0.16, 0.3]],
        [[0.62, 0.52], [0.16, 0.3]],
    ]
)
