"""Detectors: a feature map (b, channels, h, w) -> one logit a picture (b,); positive means fake.

A detector whose tokens are places can also be asked about each place; training does so where masks tell what was changed. With
`patch_head: true` any other's feature map is asked that too.
"""

import torch
from torch import Tensor, nn

from model_test_train.networks.registry import head
from model_test_train.networks.transformer import Transformer


@head("linear")
class Linear(nn.Module):
    """The mean of all places, weighed channel by channel."""

    def __init__(self, channels: int, grid: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.to_logit = nn.Linear(channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.to_logit(self.dropout(features.mean((2, 3)))).squeeze(-1)


@head("mlp")
class Mlp(nn.Module):
    """The mean of all places, through a layer between."""

    def __init__(self, channels: int, grid: tuple[int, int], dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features.mean((2, 3))).squeeze(-1)


@head("patch_transformer")
class PatchTransformer(nn.Module):
    """A token a place: attention between them says where the network looked."""

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        *,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        mlp_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.places = grid
        self.to_tokens = nn.Linear(channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, grid[0] * grid[1] + 1, dim))
        self.transformer = Transformer(dim, depth, heads, dim_head, mlp_dim, dropout)
        self.norm = nn.LayerNorm(dim)
        self.to_logit = nn.Linear(dim, 1)
        self.to_patch_logit = nn.Linear(dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self._verdict(self._tokens(self._places(features)))

    def forward_patches(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The picture's logit (b,), a logit for each place (b, h, w): was it changed?, and its weight in the verdict."""
        places = self._places(features)
        tokens = self._tokens(places)
        of_each = self.to_patch_logit(places).squeeze(-1), self.transformer.class_attention(tokens)[:, 1:]
        patch_logits, class_attention = (one.view(-1, *features.shape[2:]) for one in of_each)
        return self._verdict(tokens), patch_logits, class_attention

    def _places(self, features: Tensor) -> Tensor:
        return self.to_tokens(features.flatten(2).mT)  # (b, h w, dim)

    def _tokens(self, places: Tensor) -> Tensor:
        return torch.cat((self.cls_token.expand(places.shape[0], -1, -1), places), 1) + self.pos_embedding

    def _verdict(self, tokens: Tensor) -> Tensor:
        return self.to_logit(self.norm(self.transformer(tokens))).squeeze(-1)


@head("channel_transformer")
class ChannelTransformer(nn.Module):
    """The published detector: each token is a learned mixture of channels, its numbers are that mixture's map (h w)."""

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        *,
        tokens: int,
        depth: int,
        heads: int,
        dim_head: int,
        mlp_dim: int,
        dropout: float,
        emb_dropout: float,
    ) -> None:
        super().__init__()
        dim = grid[0] * grid[1]
        self.patch_to_embedding = nn.Conv1d(1, tokens, kernel_size=channels, stride=channels)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens + 1, dim))
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer = Transformer(dim, depth, heads, dim_head, mlp_dim, dropout)
        self.mlp_head = nn.Sequential(nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, 1))

    def forward(self, features: Tensor) -> Tensor:
        by_place = features.flatten(2).mT.flatten(1).unsqueeze(1)  # (b, 1, h w channels): one stride a place
        tokens = self.patch_to_embedding(by_place)  # (b, tokens, h w)
        tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), 1) + self.pos_embedding
        return self.mlp_head(self.transformer(self.dropout(tokens))).squeeze(-1)
