"""The transformer of both transformer heads: pre-norm blocks of attention and MLP over tokens (b, n, dim).

Modules have the names of the published implementation, so that its weights can be loaded.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class TokenReadout:
    """How a transformer's last tokens are read out, for explanations.

    By the class token, by the mean of the patch tokens, or by a query that attends to all tokens.
    """

    prefix: int = 1  # tokens before the patch (or channel mixture) tokens; the first is the class token
    uses_class_token: bool = True
    is_pooled: bool = False  # by a query, whose attention comes after the last block

    def readout_weights(self, count: int) -> Tensor:
        """The weight of each of the last tokens in the readout (1, count)."""
        if self.uses_class_token:
            return torch.eye(1, count)
        patches = count - self.prefix
        return torch.cat((torch.zeros(1, self.prefix), torch.full((1, patches), 1 / patches)), 1)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = dim_head**-0.5
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, query_count: int | None = None) -> Tensor:
        """Attention of the first `query_count` tokens (None: all) to all tokens (b, query_count, dim)."""
        q, k, v = self.split_heads(x, query_count)
        if _is_unfused_faster(q):
            mixed = (q @ k.mT * self.scale).softmax(-1) @ v  # weights (b, h, query_count, n)
        else:
            mixed = scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.to_out(mixed.transpose(1, 2).flatten(2))

    def first_token_attention(self, x: Tensor) -> Tensor:
        """The first token's attention to all tokens, averaged over the heads (b, n)."""
        q, k, _ = self.split_heads(x, 1)
        return (q @ k.mT * self.scale).softmax(-1).mean(1).squeeze(1)

    def split_heads(self, x: Tensor, query_count: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the first tokens, keys and values of all tokens (b, h, n, d)."""
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.to_qkv(x).chunk(3, -1))
        return q[:, :, :query_count], k, v


def _is_unfused_faster(q: Tensor) -> bool:
    """On a CPU, fused attention in bfloat16 is slower than separate matrix products."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        # The published dropouts have rate 0; they are kept because weight names contain the layers' indices.
        self.net = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden_dim, dim), nn.Dropout(0.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dim_head, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, mlp_dim)

    def forward(self, x: Tensor, query_count: int | None = None) -> Tensor:
        x = x[:, :query_count] + self.attn(self.norm1(x), query_count)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Tokens (b, n, dim) -> the final class token, which is the first token (b, dim)."""

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, dim_head, mlp_dim, dropout) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        *earlier, last = self._blocks()
        for block in earlier:
            x = block(x)
        return last(x, query_count=1)[:, 0]

    def class_attention(self, x: Tensor) -> Tensor:
        """The class token's attention to all tokens in the last block, whose class token is classified (b, n)."""
        *earlier, last = self._blocks()
        for block in earlier:
            x = block(x)
        return last.attn.first_token_attention(last.norm1(x))

    def _blocks(self) -> list[TransformerBlock]:
        return cast(list[TransformerBlock], list(self.blocks))
