"""LRNet (Sun et al., CVPR 2021): score a video by the motion of 68 landmarks of a face, without looking at its pixels.

Two recurrent networks score blocks of 30 frames, one the positions of the landmarks and one their differences between frames.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.key_map import load_strictly
from explain_deepfakes.model_test_train.networks.pretrained import read_weights
from explain_deepfakes.pipeline.errors import UserError

BLOCK = 30  # frames
COORDINATES = 136  # x and y of 68 landmarks
UNITS, HIDDEN = 32, 64
THRESHOLD = 0.5  # of a block

Landmarks = NDArray[np.float64]  # (frames, 136): from -1 to 1, in the face's own coordinates


class LandmarkMotion(nn.Module):
    """A bidirectional GRU and a residual layer: sequences (b, frames, 136) -> two logits, real and fake (b, 2).

    Its modules have the names of the published weights, except for the residual layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hidden_state = nn.Parameter(torch.zeros(2, 1, UNITS))
        self.gru = nn.GRU(COORDINATES, UNITS, batch_first=True, bidirectional=True)
        self.residual = nn.Sequential(nn.Linear(2 * UNITS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * UNITS))
        self.to_logits = nn.Linear(2 * UNITS, 2)

    def forward(self, sequences: Tensor) -> Tensor:
        _, hidden = self.gru(sequences, self.hidden_state.repeat(1, len(sequences), 1))
        features = hidden.transpose(0, 1).flatten(1)
        return self.to_logits(features + self.residual(features))


NAMES = {"dense.1.fn.net.0": "residual.0", "dense.1.fn.net.3": "residual.2", "dense.3": "to_logits"}


def load_motion_network(path: Path) -> LandmarkMotion:
    network = LandmarkMotion()
    load_strictly(network, {_current_name(name): value for name, value in read_weights(path).items()}, str(path))
    return network.eval()


def _current_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"{NAMES[layer]}.{kind}" if layer in NAMES else name


def read_landmarks(path: Path) -> Landmarks:
    """Read a table with a row of 136 numbers for each frame, as the published script writes it."""
    try:
        landmarks = np.loadtxt(path, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a table of numbers: {str(error).splitlines()[0]}") from error
    if landmarks.shape[1:] != (COORDINATES,) or not np.isfinite(landmarks).all():
        raise UserError(f"{path} must have {COORDINATES} finite numbers in each row, x and y of 68 landmarks")
    if len(landmarks) <= BLOCK:
        raise UserError(f"{path} has {len(landmarks)} frames; more than {BLOCK} are needed")
    return landmarks


@torch.inference_mode()
def score_motion(landmarks: Landmarks, positions: LandmarkMotion, differences: LandmarkMotion) -> float:
    """The share of blocks that are called fake."""
    blocks = np.stack([landmarks[first : first + BLOCK] for first in range(0, len(landmarks) - BLOCK, BLOCK)])
    steps = np.diff(blocks, axis=1)
    inputs = ((positions, blocks), (differences, steps))
    probabilities = [network(torch.from_numpy(values).float()).softmax(1)[:, 1] for network, values in inputs]
    return float((torch.stack(probabilities).mean(0) >= THRESHOLD).float().mean())


def score_files(paths: Sequence[Path], weights: Sequence[Path]) -> dict[str, float]:
    """The score of each file, by its name without the suffix."""
    positions, differences = (load_motion_network(path) for path in weights)
    return {path.stem: score_motion(read_landmarks(path), positions, differences) for path in paths}
