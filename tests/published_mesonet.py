"""MesoNet as its authors published it, in plain numpy, and files like theirs: the reference for our implementation."""

from pathlib import Path

import h5py
import numpy as np

BRANCHES = {1: (1, 4, 4, 2), 2: (2, 4, 4, 2)}  # widths of the branches of the two inception blocks
EPSILON, LEAK = 1e-3, 0.1


class PublishedMesoNet:
    """Pictures (b, 256, 256, 3), 0 to 1 -> the probability that each is real. The weights are random."""

    def __init__(self, inception: bool, seed: int) -> None:
        self.inception, self.rng = inception, np.random.default_rng(seed)
        self.layers: list[tuple[str, list[np.ndarray]]] = []  # in the order of creation
        blocks = (
            [self._inception(3, 1), self._inception(11, 2)] if inception else [[self._conv(3, 3, 8)], [self._conv(5, 8, 8)]]
        )
        widths = [11, 12, 16, 16] if inception else [8, 8, 16, 16]
        blocks += [[self._conv(5, widths[1], 16)], [self._conv(5, 16, 16)]]
        norms = [self._norm(width) for width in widths]
        self.steps = list(zip(blocks, norms, [2, 2, 2, 4], strict=True))
        self.dense = [self._dense(1024, 16), self._dense(16, 1)]

    def _drawn(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(np.float32)

    def _kept(self, kind: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self.layers.append((kind, [array.astype(np.float32) for array in arrays]))
        return self.layers[-1][1]

    def _conv(self, side: int, channels: int, width: int) -> list[np.ndarray]:
        return self._kept("conv2d", [self._drawn(side, side, channels, width) / (side * channels**0.5), self._drawn(width)])

    def _norm(self, width: int) -> list[np.ndarray]:
        gamma, beta, mean = (self._drawn(width) for _ in range(3))
        return self._kept("batch_normalization", [gamma, beta, mean, 0.5 + self.rng.random(width)])

    def _dense(self, channels: int, width: int) -> list[np.ndarray]:
        return self._kept("dense", [self._drawn(channels, width) * channels**-0.5, self._drawn(width)])

    def _inception(self, channels: int, block: int) -> list:
        single_width, *branch_widths = BRANCHES[block]
        return [
            [self._conv(1, channels, single_width)],
            *([self._conv(1, channels, w), self._conv(3, w, w)] for w in branch_widths),
        ]

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        features = pictures
        for number, (block, (gamma, beta, mean, variance), pool) in enumerate(self.steps):
            if self.inception and number < 2:
                first, *branch_widths = block
                branches = [convolved(features, first[0], 1)]
                branches += [
                    convolved(convolved(features, pointwise, 1), spatial, apart)
                    for apart, (pointwise, spatial) in enumerate(branch_widths, 1)
                ]
                features = np.concatenate(branches, -1)
            else:
                features = convolved(features, block[0], 1)
            features = gamma * (features - mean) / np.sqrt(variance + EPSILON) + beta
            b, h, w, c = features.shape
            features = features.reshape(b, h // pool, pool, w // pool, pool, c).max((2, 4))
        hidden = features.reshape(len(features), -1) @ self.dense[0][0] + self.dense[0][1]
        hidden = np.where(hidden > 0, hidden, LEAK * hidden)
        return 1 / (1 + np.exp(-(hidden @ self.dense[1][0] + self.dense[1][1])[:, 0]))

    def save(self, path: Path) -> None:
        """Save as Keras does: a group per layer, named by its kind and number, listed in the order of the graph."""
        counts: dict[str, int] = {}
        with h5py.File(path, "w") as file:
            names = []
            for kind, arrays in self.layers:
                counts[kind] = counts.get(kind, 0) + 1
                name = f"{kind}_{counts[kind]}"
                group = file.create_group(name)
                weights = [f"{name}/{number}:0" for number in range(len(arrays))]
                for weight, array in zip(weights, arrays, strict=True):
                    group[weight] = array
                group.attrs["weight_names"] = [weight.encode() for weight in weights]
                names.append(name.encode())
            file.attrs["layer_names"] = sorted(names)


def convolved(features: np.ndarray, weights: list[np.ndarray], apart: int) -> np.ndarray:
    """Apply a same-size convolution and a ReLU."""
    kernel, bias = weights
    side = len(kernel)
    edge = apart * (side // 2)
    padded = np.pad(features, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    height, width = features.shape[1:3]
    convolved_sum = bias + sum(
        padded[:, apart * y : apart * y + height, apart * x : apart * x + width] @ kernel[y, x]
        for y in range(side)
        for x in range(side)
    )
    return np.maximum(convolved_sum, 0)
