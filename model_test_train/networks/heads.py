"""Heads: a feature map (b, channels, h, w) -> one logit per picture (b,); positive means fake.

A head whose tokens are patches can also classify each patch; training uses that where masks show what was manipulated. With
`patch_head: true`, the feature map is classified patch by patch beside any other head.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from explain_deepfakes.model_test_train.networks.registry import head
from explain_deepfakes.model_test_train.networks.transformer import Transformer


@head("linear")
class LinearHead(nn.Module):
    """Linear classifier of the mean over all patches; with `normalised`, of the mean divided by its length."""

    def __init__(self, channels: int, grid: tuple[int, int], dropout: float, normalised: bool = False) -> None:
        super().__init__()
        self.normalised = normalised
        self.dropout = nn.Dropout(dropout)
        self.to_logit = nn.Linear(channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.classify(self.embed(features))

    def embed(self, features: Tensor) -> Tensor:
        """What is classified: the mean of the features, perhaps of unit length (b, channels)."""
        mean = features.mean((2, 3))
        return normalize(mean, dim=-1) if self.normalised else mean

    def classify(self, vectors: Tensor) -> Tensor:
        return self.to_logit(self.dropout(vectors)).squeeze(-1)


@head("mlp")
class MlpHead(nn.Module):
    """Classifier with one hidden layer of the mean over all patches."""

    def __init__(self, channels: int, grid: tuple[int, int], dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features.mean((2, 3))).squeeze(-1)


@head("patch_transformer")
class PatchTransformer(nn.Module):
    """Transformer with one token per patch; class-token attention shows where the network looked."""

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
        self.patch_grid = grid
        self.to_tokens = nn.Linear(channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, grid[0] * grid[1] + 1, dim))
        self.transformer = Transformer(dim, depth, heads, dim_head, mlp_dim, dropout)
        self.norm = nn.LayerNorm(dim)
        self.to_logit = nn.Linear(dim, 1)
        self.to_patch_logit = nn.Linear(dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self._logit(self._tokens(self._patches(features)))

    def forward_patches(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (b,), patch logits (b, h, w), positive where manipulated, and the class-token attention (b, h, w)."""
        patches = self._patches(features)
        tokens = self._tokens(patches)
        per_patch = self.to_patch_logit(patches).squeeze(-1), self.transformer.class_attention(tokens)[:, 1:]
        patch_logits, class_attention = (values.view(-1, *features.shape[2:]) for values in per_patch)
        return self._logit(tokens), patch_logits, class_attention

    def _patches(self, features: Tensor) -> Tensor:
        return self.to_tokens(features.flatten(2).mT)  # (b, h w, dim)

    def _tokens(self, patches: Tensor) -> Tensor:
        return torch.cat((self.cls_token.expand(patches.shape[0], -1, -1), patches), 1) + self.pos_embedding

    def _logit(self, tokens: Tensor) -> Tensor:
        return self.to_logit(self.norm(self.transformer(tokens))).squeeze(-1)


@head("channel_transformer")
class ChannelTransformer(nn.Module):
    """The published head: each token is a learnt mixture of channels, and its values are that mixture's map (h w)."""

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
        by_patch = features.flatten(2).mT.flatten(1).unsqueeze(1)  # (b, 1, h w channels): one stride per patch
        tokens = self.patch_to_embedding(by_patch)  # (b, tokens, h w)
        tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), 1) + self.pos_embedding
        return self.mlp_head(self.transformer(self.dropout(tokens))).squeeze(-1)
