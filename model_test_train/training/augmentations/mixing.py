"""Mixes: pictures of a batch become parts of one another, and so do their labels and masks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from model_test_train.training.augmentations.chance import Chance
from pipeline.params import setting

COARSE_GRID = (8, 8)  # where the network has no places
Batch = tuple[Tensor, Tensor, Tensor]  # pictures (b, size, size, 3) uint8, labels (b,), masks (b, h, w)


@dataclass(frozen=True)
class Mixing(Chance, ABC):
    @abstractmethod
    def apply(self, batch: Batch, rng: Generator) -> Batch:
        """The batch after it."""


@dataclass(frozen=True)
class MixUp(Mixing):
    """Each picture is laid over another (Zhang et al. 2018)."""

    alpha: float = setting("of the beta distribution that says how much of each", low=0.01)

    def apply(self, batch: Batch, rng: Generator) -> Batch:
        share, others = rng.beta(self.alpha, self.alpha), torch.from_numpy(rng.permutation(len(batch[0])))
        pictures, labels, masks = (share * part + (1 - share) * part[others] for part in batch)
        return pictures.round().byte(), labels, masks


@dataclass(frozen=True)
class CutMix(Mixing):
    """In each picture a rectangle comes from another (Yun et al. 2019)."""

    alpha: float = setting("of the beta distribution that says how large it is", low=0.01)

    def apply(self, batch: Batch, rng: Generator) -> Batch:
        pictures, labels, masks = (part.clone() for part in batch)
        others = torch.from_numpy(rng.permutation(len(pictures)))
        has_places = masks.shape[1] > 1
        grid = masks.shape[1:] if has_places else COARSE_GRID  # whole places of the network's, so that masks stay exact
        sides = [max(1, round(length * np.sqrt(1 - rng.beta(self.alpha, self.alpha)))) for length in grid]
        corner = [int(rng.integers(length - side + 1)) for length, side in zip(grid, sides, strict=True)]
        rows, columns = (slice(at, at + side) for at, side in zip(corner, sides, strict=True))
        if has_places:
            masks[:, rows, columns] = masks[others, rows, columns]
        down, right = (size // length for size, length in zip(pictures.shape[1:3], grid, strict=True))
        rows, columns = _times(rows, down), _times(columns, right)
        pictures[:, rows, columns] = pictures[others, rows, columns]
        share = sides[0] * sides[1] / (grid[0] * grid[1])
        return pictures, (1 - share) * labels + share * labels[others], masks


def _times(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)


MIXING: dict[str, type[Mixing]] = {"mixup": MixUp, "cutmix": CutMix}
