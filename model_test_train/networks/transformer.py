"""The transformer of both detectors: pre-norm blocks of attention and MLP over tokens (b, n, dim).

The names of the parts are those of the published implementation, so that its weights can be read.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Tokens:
    """What is read of a transformer's last tokens, as an explanation must know: the class token, or the mean of the places."""

    prefix: int = 1  # tokens before the places, or mixtures; the first is the class token
    of_class_token: bool = True

    def row(self, count: int) -> Tensor:
        """What the verdict owes to each of the last tokens (1, count)."""
        if self.of_class_token:
            return torch.eye(1, count)
        places = count - self.prefix
        return torch.cat((torch.zeros(1, self.prefix), torch.full((1, places), 1 / places)), 1)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = dim_head**-0.5
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, asking: int | None = None) -> Tensor:
        """What the first `asking` tokens (None: all) learn from all of them (b, asking, dim)."""
        q, k, v = self.by_head(x, asking)
        if _is_quicker_apart(q):
            mixed = (q @ k.mT * self.scale).softmax(-1) @ v  # weights (b, h, asking, n)
        else:
            mixed = scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.to_out(mixed.transpose(1, 2).flatten(2))

    def of_first_token(self, x: Tensor) -> Tensor:
        """How it weighs all tokens (b, n), the mean over the heads."""
        q, k, _ = self.by_head(x, 1)
        return (q @ k.mT * self.scale).softmax(-1).mean(1).squeeze(1)

    def by_head(self, x: Tensor, asking: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the first tokens, keys and values of all (b, h, n, d)."""
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.to_qkv(x).chunk(3, -1))
        return q[:, :, :asking], k, v


def _is_quicker_apart(q: Tensor) -> bool:
    """Fused attention in bfloat16 is slower on a processor than the products by themselves."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        # The published dropouts here have rate 0; they stay for the numbers in the names of its weights.
        self.net = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden_dim, dim), nn.Dropout(0.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dim_head, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, mlp_dim)

    def forward(self, x: Tensor, asking: int | None = None) -> Tensor:
        x = x[:, :asking] + self.attn(self.norm1(x), asking)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Tokens (b, n, dim) -> what the first of them, the class token, has learnt in the end (b, dim)."""

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, dim_head, mlp_dim, dropout) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        *others, last = self._blocks()
        for block in others:
            x = block(x)
        return last(x, asking=1)[:, 0]

    def class_attention(self, x: Tensor) -> Tensor:
        """How the class token weighs all tokens in the last block, where the verdict is drawn from them (b, n)."""
        *others, last = self._blocks()
        for block in others:
            x = block(x)
        return last.attn.of_first_token(last.norm1(x))

    def _blocks(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))
