"""The published hybrid, reimplemented from its description without our code: the reference for correctness and speed.

EfficientNet's features (b, c, 7, 7) are flattened cell by cell into one row and mixed by a convolution that sees one cell at
a time: 1024 tokens, each a map of 49 cells. A class token, learned positions, six pre-norm blocks, a perceptron on the class
token. The weights have the published names.
"""

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dim_head = heads, dim_head
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        batch, count, _ = x.shape
        q, k, v = self.to_qkv(x).view(batch, count, 3, self.heads, self.dim_head).permute(2, 0, 3, 1, 4)
        weights = torch.einsum("bhid,bhjd->bhij", q, k).mul(self.dim_head**-0.5).softmax(dim=-1)
        self.weights = weights  # read by published_relevancy
        mixed = torch.einsum("bhij,bhjd->bhid", weights, v)
        return self.to_out(mixed.permute(0, 2, 1, 3).reshape(batch, count, -1))


class Perceptron(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, dim), nn.Dropout(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = Attention(dim, heads, dim_head, dropout), Perceptron(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Blocks(nn.Module):
    def __init__(self, depth: int, *sizes: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(*sizes, dropout=dropout) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class PublishedNetwork(nn.Module):
    """Pictures (b, 3, 224, 224), BGR from 0 to 255 -> logits (b, 1). As published, all but the first CNN blocks are trained."""

    def __init__(self, variant: str = "b0", dropout: float = 0.15, first_to_learn: int = 13) -> None:
        super().__init__()
        self.efficient_net = EfficientNet.from_name(f"efficientnet-{variant}")
        for number, block in enumerate(self.efficient_net._blocks):
            block.requires_grad_(number >= first_to_learn)
        channels, cells, tokens = self.efficient_net._conv_head.out_channels, 49, 1024
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens + 1, cells))
        self.patch_to_embedding = nn.Conv1d(1, tokens, kernel_size=channels, stride=channels)
        self.cls_token = nn.Parameter(torch.randn(1, 1, cells))
        self.dropout = nn.Dropout(dropout)
        self.transformer = Blocks(6, cells, 8, 64, 2048, dropout=dropout)
        self.mlp_head = nn.Sequential(nn.Linear(cells, 2048), nn.ReLU(), nn.Linear(2048, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.efficient_net.extract_features(pictures)
        row = features.permute(0, 2, 3, 1).reshape(len(pictures), 1, -1)
        tokens = torch.cat((self.cls_token.repeat(len(pictures), 1, 1), self.patch_to_embedding(row)), dim=1)
        return self.mlp_head(self.transformer(self.dropout(tokens + self.pos_embedding))[:, 0])


def published_relevancy(network: nn.Module, attentions: list[nn.Module], picture: Tensor, sign: float) -> Tensor:
    """One picture (1, 3, side, side): R <- R + A R from the identity, A: attention x gradient, the positive part.

    As published: gradients of all trained weights, and the full R. Each attention keeps its weights as `weights`.
    """
    logit = network(picture).sum()
    for attention in attentions:
        attention.weights.retain_grad()  # type: ignore[operator, union-attr]
    network.zero_grad()
    (sign * logit).backward()
    relevancy = torch.eye(attentions[0].weights.shape[-1])  # type: ignore[union-attr]
    for attention in attentions:
        weights: Tensor = attention.weights  # type: ignore[assignment]
        assert weights.grad is not None
        evidence = (weights.detach() * weights.grad)[0].clamp(min=0).mean(dim=0)
        relevancy = relevancy + evidence @ relevancy
    return relevancy[0, 1:]
