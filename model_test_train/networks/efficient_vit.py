"""EfficientViT and Cross EfficientViT (Coccomini et al., ICIAP 2022): transformers whose only patch is the whole feature map.

The published EfficientViT adds a position that depends on a face's place in its batch, so its score depends on the others.
Here, each face is scored as if it were alone. A single patch leaves attention nothing to point at; heatmaps use the feature
maps.
"""

from typing import cast

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from explain_deepfakes.model_test_train.networks.efficientnet import source
from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, load_pretrained
from explain_deepfakes.model_test_train.networks.registry import backbone, head
from explain_deepfakes.model_test_train.networks.transformer import FeedForward, Transformer

POSITIONS = 32  # largest batch of the published network
EARLY_BLOCKS = 3
FOLD = 8  # the early feature map has this many times the rows of the final one


@head("whole_map_transformer")
class WholeMapTransformer(nn.Module):
    """A transformer of two tokens: the class token, and the flattened feature map."""

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
        self.to_token = nn.Linear(channels * grid[0] * grid[1], dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(POSITIONS, 1, dim))
        self.dropout = nn.Dropout(dropout)
        self.encoder = Transformer(dim, depth, heads, dim_head, mlp_dim, dropout)
        self.mlp_head = nn.Sequential(nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, 1))

    def forward(self, features: Tensor) -> Tensor:
        tokens = with_class_token(self.cls_token, self.to_token(by_patch(features))) + self.pos_embedding[:1]
        return self.mlp_head(self.encoder(self.dropout(tokens))).squeeze(-1)


@backbone("two_scales")
class TwoScales(nn.Module):
    """The final feature map of one EfficientNet-B0, and an early one of another, folded to the same size."""

    def __init__(self, size: int, pretrained: Pretrained) -> None:
        super().__init__()
        self.final, self.early = (EfficientNet.from_name("efficientnet-b0") for _ in range(2))
        for net in (self.final, self.early):
            load_pretrained(net, pretrained, source("b0"))
            del net._fc
        for unused in ("_conv_head", "_bn1"):
            delattr(self.early, unused)
        self.early._blocks = self.early._blocks[:EARLY_BLOCKS]

    def forward(self, pixels: Tensor) -> Tensor:
        early = self.early._swish(self.early._bn0(self.early._conv_stem(pixels)))
        for block in self.early._blocks:
            early = block(early)
        return torch.cat((self.final.extract_features(pixels), pixel_unshuffle(early, FOLD)), 1)


@head("cross_transformer")
class CrossTransformer(nn.Module):
    """Two transformers, one for each scale, whose class tokens attend to the other's patch. The sum of their logits decides."""

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        *,
        final_channels: int,
        dims: list[int],
        positions: list[int],
        depth: int,
        depths: list[int],
        cross_depth: int,
        heads: int,
        dim_head: int,
        mlp_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.channels = final_channels, channels - final_channels
        sizes = [count * grid[0] * grid[1] for count in self.channels]
        self.to_tokens = nn.ModuleList(nn.Linear(size, dim) for size, dim in zip(sizes, dims, strict=True))
        self.cls_tokens = nn.ParameterList(torch.randn(1, 1, dim) for dim in dims)
        self.pos_embeddings = nn.ParameterList(
            torch.randn(1, count, dim)
            for count, dim in zip(positions, dims, strict=True)  # all but the first two are unused
        )
        self.stages = nn.ModuleList(
            CrossStage(dims, depths, cross_depth, heads, dim_head, mlp_dim, dropout) for _ in range(depth)
        )
        self.to_logits = nn.ModuleList(nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1)) for dim in dims)

    def forward(self, features: Tensor) -> Tensor:
        final, early = features.split(self.channels, 1)
        maps = by_patch(final), by_patch(nn.functional.pixel_shuffle(early, FOLD))
        parameters = zip(self.to_tokens, self.cls_tokens, self.pos_embeddings, maps, strict=True)
        tokens = [with_class_token(cls, embed(patch)) + position[:, :2] for embed, cls, position, patch in parameters]
        for stage in self.stages:
            tokens = stage(tokens)
        logits = [to_logit(token[:, 0]) for to_logit, token in zip(self.to_logits, tokens, strict=True)]
        return (logits[0] + logits[1]).squeeze(-1)


class CrossStage(nn.Module):
    """Self-attention within each scale, then cross-attention of either class token to the patch of the other scale."""

    def __init__(
        self, dims: list[int], depths: list[int], cross_depth: int, heads: int, dim_head: int, mlp_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            NormalisedEncoder(dim, depth, heads, dim_head, mlp_dim, dropout) for dim, depth in zip(dims, depths, strict=True)
        )
        pairs = ((dims[0], dims[1]), (dims[1], dims[0]))
        self.crossings = nn.ModuleList(
            nn.ModuleList(CrossAttention(own, other, heads, dim_head, dropout) for own, other in pairs)
            for _ in range(cross_depth)
        )

    def forward(self, tokens: list[Tensor]) -> list[Tensor]:
        first, second = (encode(token) for encode, token in zip(self.encoders, tokens, strict=True))
        (first_class, first_patch), (second_class, second_patch) = ((x[:, :1], x[:, 1:]) for x in (first, second))
        for crossing in self.crossings:
            to_second, to_first = cast(nn.ModuleList, crossing)
            first_class = first_class + to_second(first_class, second_patch)
            second_class = second_class + to_first(second_class, first_patch)
        return [torch.cat((first_class, first_patch), 1), torch.cat((second_class, second_patch), 1)]


class NormalisedEncoder(nn.Module):
    """Transformer blocks and a layer norm, over all tokens."""

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(EncoderBlock(dim, heads, dim_head, mlp_dim, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(x))


class EncoderBlock(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = QueryAttention(dim, heads, dim_head, dropout), FeedForward(dim, mlp_dim)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn(normed, normed)
        return x + self.mlp(self.norm2(x))


class QueryAttention(nn.Module):
    """Attention of queries (b, m, dim) to a context (b, n, dim)."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        projected = (self.to_q(queries), *self.to_kv(context).chunk(2, -1))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in projected)
        return self.to_out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of a class token to itself and to the patch of the other scale, in the other scale's dimensions."""

    def __init__(self, own_dim: int, other_dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.project_in = nn.Linear(own_dim, other_dim)
        self.norm = nn.LayerNorm(other_dim)
        self.attn = QueryAttention(other_dim, heads, dim_head, dropout)
        self.project_out = nn.Linear(other_dim, own_dim)

    def forward(self, class_token: Tensor, patch: Tensor) -> Tensor:
        query = self.norm(self.project_in(class_token))
        return self.project_out(self.attn(query, torch.cat((query, patch), 1)))


def by_patch(features: Tensor) -> Tensor:
    """The whole feature map as one token (b, 1, h w channels), channels last."""
    return features.permute(0, 2, 3, 1).flatten(1)[:, None]


def with_class_token(cls_token: Tensor, tokens: Tensor) -> Tensor:
    # not len(tokens), which an ONNX export would turn into a constant
    return torch.cat((cls_token.expand(tokens.shape[0], -1, -1), tokens), 1)
