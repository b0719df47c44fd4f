"""Relevancy: how much each token of a transformer spoke for the logit, by the rules of Chefer et al. (ICCV 2021).

Each block's attention is multiplied by its gradient, the positive part averaged over the heads (A), and R <- R + A R
accumulated from the identity. Only the class token's row of R is needed, and a row can be carried from the last block to the
first: the way that gradients take anyway. So the row is carried by the attention's own backward pass, a few of its rows at a
time, and no attention matrix is ever held as a whole. What spoke against the logit has the same gradients, turned: one pass
carries both rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, multi_head_attention_forward, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from model_test_train.networks.transformer import Tokens

CLASS_TOKEN_FIRST = Tokens()
WEIGHTS_AT_ONCE = 2_000_000  # of attention, 8 MB: little enough to stay near the processor
TOKENS_AT_ONCE = 2000  # of all pictures together

Attend = Callable[..., Tensor]


class InsteadOfAttention(TorchFunctionMode):
    """While it is on, `attend` does what torch's attention would; networks need not know."""

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
        *others: Any,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """What torch's own module does in one piece; tokens (n, b, dim) attend to themselves."""
        if more.get("attn_mask") is not None or more.get("key_padding_mask") is not None:
            raise TypeError("attention with a mask cannot be explained")
        out_weight, out_bias = others[4:6]  # after two biases that CLIP has not, a switch, and dropout
        q, k, v = (
            part.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for part in linear(query, in_weight, in_bias).chunk(3, -1)
        )
        return linear(self.attend(q, k, v).permute(2, 0, 1, 3).flatten(2), out_weight, out_bias), None


@dataclass
class Carried:
    """The class token's rows of R (2, b, n): what it owes, for fake and for real, to each token below the block passed last."""

    tokens: Tokens = CLASS_TOKEN_FIRST
    rows: Tensor | None = None
    anchor: Tensor = field(default_factory=lambda: torch.zeros((), requires_grad=True))  # nothing below the first block learns

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
        return CarryingAttention.apply(q, k, v, scale or q.shape[-1] ** -0.5, self, self.anchor)


class CarryingAttention(torch.autograd.Function):
    """Attention of queries (b, h, m, d), those of the first m tokens, to keys and values (b, h, n, d)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, carried: Carried, anchor: Tensor) -> Tensor:
        mixed = scaled_dot_product_attention(q, k, v, scale=scale)
        ctx.save_for_backward(q, k, v, mixed)
        ctx.scale, ctx.carried = scale, carried
        return mixed

    @staticmethod
    def backward(ctx: Any, of_mixed: Tensor) -> Any:
        q, k, v, mixed = ctx.saved_tensors
        batch, heads, asking, _ = q.shape
        count = k.shape[2]
        read = ctx.carried.tokens.row(count).to(q.device).expand(2, batch, -1)
        rows: Tensor = read if ctx.carried.rows is None else ctx.carried.rows
        is_first_block = not ctx.needs_input_grad[0]
        of_q, of_k, of_v = (torch.zeros_like(t) for t in (q, k, v))
        owed = rows.clone()
        at_once = max(1, WEIGHTS_AT_ONCE // (batch * heads * count))
        for first in range(0, asking, at_once):
            some = slice(first, min(first + at_once, asking))
            q_some, of_some = q[:, :, some], of_mixed[:, :, some]
            weights = (q_some @ k.mT).mul_(ctx.scale).softmax(-1)  # (b, h, some, n)
            spoke = (of_some @ v.mT).mul_(weights)  # times its gradient
            for_fake, for_real = rows[:, :, None, None, some]
            owed[0] += (for_fake @ spoke.clamp(min=0)).squeeze(2).mean(1)
            owed[1] -= (for_real @ spoke.clamp(max=0)).squeeze(2).mean(1)
            if is_first_block:
                continue
            of_v += weights.mT @ of_some
            through = (of_some * mixed[:, :, some]).sum(-1, keepdim=True)
            of_scores = spoke.sub_(weights.mul_(through)).mul_(ctx.scale)
            of_q[:, :, some] = of_scores @ k
            of_k += of_scores.mT @ q_some
        ctx.carried.rows = owed
        return of_q, of_k, of_v, None, None, None


@dataclass(frozen=True)
class Relevancy:
    """Of the n tokens that are places, or mixtures; those that come before them are left out."""

    for_fake: Tensor  # (b, n)
    for_real: Tensor  # (b, n)
    evidence: Tensor | None  # (b, n, d): each token's numbers times the logit's slope by them, absolute; if it was asked for


def token_relevancy(
    network: torch.nn.Module, inputs: Tensor, to_tokens: torch.nn.Module | None = None, tokens: Tokens = CLASS_TOKEN_FIRST
) -> Relevancy:
    """Of pictures or features (b, …), a few at a time; with the evidence of the tokens that the module `to_tokens` puts out."""
    how = to_tokens, tokens
    first = _at_once(network, inputs[:1], *how)  # and so how many tokens there are
    at_once = max(1, TOKENS_AT_ONCE // first.for_fake.shape[1])
    parts = [first, *(_at_once(network, some, *how) for some in inputs[1:].split(at_once) if len(some))]
    evidence = [part.evidence for part in parts if part.evidence is not None]
    return Relevancy(
        torch.cat([part.for_fake for part in parts]),
        torch.cat([part.for_real for part in parts]),
        torch.cat(evidence) if evidence else None,
    )


def _at_once(network: torch.nn.Module, inputs: Tensor, to_tokens: torch.nn.Module | None, tokens: Tokens) -> Relevancy:
    carried = Carried(tokens)
    with torch.enable_grad(), frozen(network), InsteadOfAttention(carried.attend), outputs_of(to_tokens) as made:
        logit = network(inputs).sum()
    slopes = torch.autograd.grad(logit, [carried.anchor, *made], allow_unused=True)[1:]
    if carried.rows is None:
        raise TypeError("the network has no attention to ask")
    for_fake, for_real = carried.rows[:, :, tokens.prefix :]
    evidence = [(token.detach() * slope).abs() for token, slope in zip(made, slopes, strict=True)]
    return Relevancy(for_fake, for_real, evidence[0] if evidence else None)


def attention_weights(network: torch.nn.Module, inputs: Tensor) -> list[Tensor]:
    """Of each block, how the tokens that ask weigh all tokens (b, m, n), the mean over the heads."""
    found: list[Tensor] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
        weights = (q @ k.mT * (scale or q.shape[-1] ** -0.5)).softmax(-1)
        found.append(weights.mean(1))
        return weights @ v

    with torch.no_grad(), InsteadOfAttention(attend):
        network(inputs)
    return found


@contextmanager
def frozen(network: torch.nn.Module) -> Iterator[None]:
    """No gradients for weights, nor for what lies below the first attention."""
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)


@contextmanager
def outputs_of(module: torch.nn.Module | None) -> Iterator[list[Tensor]]:
    """Collects what the module puts out, as tensors that gradients can be asked for; below them there are none."""
    outputs: list[Tensor] = []
    if module is None:
        yield outputs
        return

    def record(module: torch.nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    hook = module.register_forward_hook(record)
    try:
        yield outputs
    finally:
        hook.remove()
