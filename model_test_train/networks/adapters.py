"""Adapters: a large pretrained network is tuned by low-rank updates of the weights of some linear layers.

`lora` adds the product of two small matrices (Hu et al., ICLR 2022). `svd` keeps the directions of the largest singular values
and trains those of the smallest (Effort: Yan et al., ICML 2025). All other weights stay as they are.
"""

from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import setting


@dataclass(frozen=True)
class AdapterOptions:
    """The option `adapter` of a backbone."""

    kind: str = setting("low-rank matrices, or the smallest singular values", choices=("lora", "svd"))
    rank: int = setting("rank of the update", low=1)
    layers: tuple[str, ...] = setting("patterns of the linear layers to adapt, such as *.attn.qkv")


class Lora(nn.Module):
    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


class SmallestSingularValues(nn.Module):
    """The frozen weight has the largest singular values only; the trained factors are the rest."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.left = nn.Parameter(torch.randn(rows, rank) / rows**0.5)
        self.values = nn.Parameter(torch.zeros(rank))  # so that the weight is unchanged until the first step, or `split`
        self.right = nn.Parameter(torch.randn(rank, columns) / columns**0.5)

    @torch.no_grad()
    def split(self, weight: Tensor) -> Tensor:
        """Move the smallest singular values of the weight to the factors, and return what is left of it."""
        rank = len(self.values)
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        self.left.copy_(left[:, -rank:])
        self.values.copy_(values[-rank:])
        self.right.copy_(right[-rank:])
        return (left[:, :-rank] * values[:-rank]) @ right[:-rank]

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.left * self.values) @ self.right


def add_adapters(net: nn.Module, options: AdapterOptions, is_pretrained: bool) -> None:
    """Add an adapter to each layer that matches. A network whose weights are loaded later needs no decomposition."""
    adapted = 0
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.Linear) and any(fnmatch(name, pattern) for pattern in options.layers):
            rank = min(options.rank, *layer.weight.shape)
            if options.kind == "lora":
                parametrize.register_parametrization(layer, "weight", Lora(layer.weight, rank))
            else:
                adapter = SmallestSingularValues(layer.weight, rank)
                if is_pretrained:
                    layer.weight.data = adapter.split(layer.weight)
                parametrize.register_parametrization(layer, "weight", adapter)
            adapted += 1
    if not adapted:
        raise UserError(f"backbone.adapter.layers: no linear layer matches {', '.join(options.layers)}")
