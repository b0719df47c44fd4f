"""Relevancy of a transformer's tokens for its logit, by the rules of Chefer et al. (ICCV 2021).

Each block's attention matrix is multiplied by its gradient; the positive part, averaged over the heads, is A. The relevancy R
starts as the identity and is updated by R <- R + A R in each block. Only the class token's row of R is needed, and a row can be
propagated from the last block to the first, in the same direction as the gradients. The attention's own backward pass therefore
updates the row, for a few queries at a time, and no complete attention matrix is kept in memory. The evidence against the logit
has the same gradients with opposite sign, so one pass computes both rows.

Shapes: b pictures, h heads, m query tokens, n key tokens, d channels per head.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear, multi_head_attention_forward, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from explain_deepfakes.model_test_train.networks.transformer import TokenReadout

CLASS_TOKEN_FIRST = TokenReadout()
WEIGHTS_AT_ONCE = 2_000_000  # attention weights per chunk, 8 MB: few enough to stay in the CPU's cache
TOKENS_AT_ONCE = 2000  # tokens per batch, all pictures together

Attend = Callable[..., Tensor]


class AttentionOverride(TorchFunctionMode):
    """Call `attend(q, k, v, scale=...)` instead of PyTorch's attention functions while active; networks stay unchanged."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is multi_head_attention_forward:
            return self._multi_head(*args, **(kwargs or {}))
        if func is scaled_dot_product_attention:
            return self._attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        if attn_mask is not None or is_causal:
            raise TypeError("attention with a mask cannot be explained")
        return self.attend(q, k, v, scale=scale)

    def _multi_head(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dim: int,
        heads: int,
        in_weight: Tensor,
        in_bias: Tensor | None,
        *options: object,
        **masks: object,
    ) -> tuple[Tensor, None]:
        """Self-attention of tokens (n, b, dim) as in torch.nn.MultiheadAttention, with `attend` in its middle."""
        if masks.get("attn_mask") is not None or masks.get("key_padding_mask") is not None:
            raise TypeError("attention with a mask cannot be explained")
        # The first four options are bias_k, bias_v (CLIP has neither), add_zero_attn and dropout.
        out_weight, out_bias = cast(tuple[Tensor, Tensor | None], options[4:6])
        q, k, v = (  # (b, h, n, d)
            projected.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
            for projected in linear(query, in_weight, in_bias).chunk(3, -1)
        )
        return linear(self.attend(q, k, v).permute(2, 0, 1, 3).flatten(2), out_weight, out_bias), None


@dataclass
class RelevancyRows:
    """The readout's rows of R, for fake and for real (2, b, n), with respect to the input of the block processed last."""

    tokens: TokenReadout = CLASS_TOKEN_FIRST
    rows: Tensor | None = None
    # Keeps the first block in the graph although nothing below it requires a gradient.
    anchor: Tensor = field(default_factory=lambda: torch.zeros((), requires_grad=True))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
        return RelevancyAttention.apply(q, k, v, scale or q.shape[-1] ** -0.5, self, self.anchor)


class RelevancyAttention(torch.autograd.Function):
    """Attention from the first m tokens' queries (b, h, m, d) to keys and values (b, h, n, d); backward updates the rows."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, state: RelevancyRows, anchor: Tensor) -> Tensor:
        mixed = scaled_dot_product_attention(q, k, v, scale=scale)  # (b, h, m, d)
        ctx.save_for_backward(q, k, v, mixed)
        ctx.scale, ctx.state = scale, state
        return mixed

    @staticmethod
    def backward(ctx: Any, grad_mixed: Tensor) -> Any:
        q, k, v, mixed = ctx.saved_tensors
        batch, heads, query_count, _ = q.shape
        key_count = k.shape[2]
        readout = ctx.state.tokens.readout_weights(key_count).to(q.device).expand(2, batch, -1)
        rows: Tensor = readout if ctx.state.rows is None else ctx.state.rows  # (2, b, n)
        is_first_block = not ctx.needs_input_grad[0]
        grad_q, grad_k, grad_v = (torch.zeros_like(t) for t in (q, k, v))
        # A query that pools the tokens is none of them, so there is no identity to start from.
        is_pooling = ctx.state.rows is None and ctx.state.tokens.is_pooled
        updated_rows = torch.zeros_like(rows) if is_pooling else rows.clone()
        chunk_size = max(1, WEIGHTS_AT_ONCE // (batch * heads * key_count))
        for first in range(0, query_count, chunk_size):
            chunk = slice(first, min(first + chunk_size, query_count))  # c queries
            q_chunk, grad_chunk = q[:, :, chunk], grad_mixed[:, :, chunk]  # (b, h, c, d)
            weights = (q_chunk @ k.mT).mul_(ctx.scale).softmax(-1)  # (b, h, c, n)
            weighted_grad = (grad_chunk @ v.mT).mul_(weights)  # attention times its gradient (b, h, c, n)
            for_fake, for_real = rows[:, :, None, None, chunk]  # (b, 1, 1, c) each
            updated_rows[0] += (for_fake @ weighted_grad.clamp(min=0)).squeeze(2).mean(1)
            updated_rows[1] -= (for_real @ weighted_grad.clamp(max=0)).squeeze(2).mean(1)
            if is_first_block:
                continue
            grad_v += weights.mT @ grad_chunk
            softmax_term = (grad_chunk * mixed[:, :, chunk]).sum(-1, keepdim=True)  # (b, h, c, 1)
            grad_scores = weighted_grad.sub_(weights.mul_(softmax_term)).mul_(ctx.scale)  # (b, h, c, n)
            grad_q[:, :, chunk] = grad_scores @ k
            grad_k += grad_scores.mT @ q_chunk
        ctx.state.rows = updated_rows
        return grad_q, grad_k, grad_v, None, None, None


@dataclass(frozen=True)
class Relevancy:
    """Relevancy of the n patch tokens or channel mixtures; prefix tokens such as the class token are left out."""

    for_fake: Tensor  # (b, n)
    for_real: Tensor  # (b, n)
    evidence: Tensor | None  # |token * gradient of the logit| (b, n, d), if `to_tokens` was passed


def token_relevancy(
    network: torch.nn.Module, inputs: Tensor, to_tokens: torch.nn.Module | None = None, tokens: TokenReadout = CLASS_TOKEN_FIRST
) -> Relevancy:
    """Relevancy for pictures or features (b, …), a few at a time; `to_tokens` is the module whose outputs get evidence."""
    first = _batch_relevancy(network, inputs[:1], to_tokens, tokens)  # determines the number of tokens
    batch_size = max(1, TOKENS_AT_ONCE // first.for_fake.shape[1])
    rest = [_batch_relevancy(network, batch, to_tokens, tokens) for batch in inputs[1:].split(batch_size) if len(batch)]
    results = [first, *rest]
    evidence = [result.evidence for result in results if result.evidence is not None]
    return Relevancy(
        torch.cat([result.for_fake for result in results]),
        torch.cat([result.for_real for result in results]),
        torch.cat(evidence) if evidence else None,
    )


def _batch_relevancy(
    network: torch.nn.Module, inputs: Tensor, to_tokens: torch.nn.Module | None, tokens: TokenReadout
) -> Relevancy:
    state = RelevancyRows(tokens)
    with torch.enable_grad(), frozen_weights(network), AttentionOverride(state.attend), record_outputs(to_tokens) as outputs:
        logit = network(inputs).sum()
    gradients = torch.autograd.grad(logit, [state.anchor, *outputs], allow_unused=True)[1:]
    if state.rows is None:
        raise TypeError("the network has no attention, so relevancy cannot be computed")
    for_fake, for_real = state.rows[:, :, tokens.prefix :]
    evidence = [(output.detach() * gradient).abs() for output, gradient in zip(outputs, gradients, strict=True)]
    return Relevancy(for_fake, for_real, evidence[0] if evidence else None)


def attention_weights(network: torch.nn.Module, inputs: Tensor) -> list[Tensor]:
    """For each block, the attention from the query tokens to all tokens (b, m, n), averaged over the heads."""
    recorded: list[Tensor] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
        weights = (q @ k.mT * (scale or q.shape[-1] ** -0.5)).softmax(-1)  # (b, h, m, n)
        recorded.append(weights.mean(1))
        return weights @ v

    with torch.no_grad(), AttentionOverride(attend):
        network(inputs)
    return recorded


@contextmanager
def frozen_weights(network: torch.nn.Module) -> Iterator[None]:
    """Compute no gradients for weights, nor for anything below the first attention."""
    trainable = [weight for weight in network.parameters() if weight.requires_grad]
    try:
        for weight in trainable:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in trainable:
            weight.requires_grad_(True)


@contextmanager
def record_outputs(module: torch.nn.Module | None) -> Iterator[list[Tensor]]:
    """Collect the module's outputs, detached from what precedes them and requiring gradients."""
    outputs: list[Tensor] = []
    if module is None:
        yield outputs
        return

    def record(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    hook = module.register_forward_hook(record)
    try:
        yield outputs
    finally:
        hook.remove()
