"""Mixing augmentations: they combine pictures of a batch with one another, and likewise their labels and masks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from explain_deepfakes.model_test_train.training.augmentations.chance import RandomEffect
from explain_deepfakes.pipeline.params import setting

COARSE_GRID = (8, 8)  # used if the network does not classify patches
Batch = tuple[Tensor, Tensor, Tensor]  # pictures (b, size, size, 3) uint8, labels (b,), masks (b, h, w)


@dataclass(frozen=True)
class Mixing(RandomEffect, ABC):
    @abstractmethod
    def apply(self, batch: Batch, rng: Generator) -> Batch:
        """Mix the pictures of a batch."""


@dataclass(frozen=True)
class MixUp(Mixing):
    """Blend each picture with another one (Zhang et al. 2018)."""

    alpha: float = setting("of the beta distribution of the blend weight", low=0.01)

    def apply(self, batch: Batch, rng: Generator) -> Batch:
        share, others = rng.beta(self.alpha, self.alpha), torch.from_numpy(rng.permutation(len(batch[0])))
        pictures, labels, masks = (share * tensor + (1 - share) * tensor[others] for tensor in batch)
        return pictures.round().byte(), labels, masks


@dataclass(frozen=True)
class CutMix(Mixing):
    """Replace a rectangle of each picture by that of another one (Yun et al. 2019)."""

    alpha: float = setting("of the beta distribution of the rectangle's size", low=0.01)

    def apply(self, batch: Batch, rng: Generator) -> Batch:
        pictures, labels, masks = (tensor.clone() for tensor in batch)
        others = torch.from_numpy(rng.permutation(len(pictures)))
        has_patches = masks.shape[1] > 1
        grid = masks.shape[1:] if has_patches else COARSE_GRID  # whole patches of the network, so that masks stay exact
        sides = [max(1, round(length * np.sqrt(1 - rng.beta(self.alpha, self.alpha)))) for length in grid]
        corner = [int(rng.integers(length - side + 1)) for length, side in zip(grid, sides, strict=True)]
        rows, columns = (slice(start, start + side) for start, side in zip(corner, sides, strict=True))
        if has_patches:
            masks[:, rows, columns] = masks[others, rows, columns]
        patch_height, patch_width = (size // length for size, length in zip(pictures.shape[1:3], grid, strict=True))
        rows, columns = _scale(rows, patch_height), _scale(columns, patch_width)
        pictures[:, rows, columns] = pictures[others, rows, columns]
        share = sides[0] * sides[1] / (grid[0] * grid[1])
        return pictures, (1 - share) * labels + share * labels[others], masks


def _scale(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)


MIXING: dict[str, type[Mixing]] = {"mixup": MixUp, "cutmix": CutMix}
