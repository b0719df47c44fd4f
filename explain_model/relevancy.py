"""Relevancy: how much each token of a transformer spoke for the logit, by the rules of Chefer et al. (ICCV 2021).

Each block's attention is multiplied by its gradient, the positive part averaged over the heads (A), and R <- R + A R
accumulated from the identity. Only the class token's row of R is needed, and a row can be carried from the last block to the
first: the way that gradients take anyway. So the row is carried by the attention's own backward pass, a few of its rows at a
time, and no attention matrix is ever held as a whole.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

WEIGHTS_AT_ONCE = 2_000_000  # of attention, 8 MB: little enough to stay near the processor
TOKENS_AT_ONCE = 2000  # of all pictures together

Attend = Callable[..., Tensor]


class InsteadOfAttention(TorchFunctionMode):
    """While it is on, `attend` does what torch's attention would; networks need not know."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        called = self.attend if func is scaled_dot_product_attention else func
        return called(*args, **(kwargs or {}))


@dataclass
class Carried:
    """The class token's row of R, (b, n): what it owes to each token at the entrance of the block that was passed last."""

    row: Tensor | None = None
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
        to_itself = torch.eye(1, count, device=q.device).expand(batch, -1)
        row: Tensor = to_itself if ctx.carried.row is None else ctx.carried.row
        is_first_block = not ctx.needs_input_grad[0]
        of_q, of_k, of_v = (torch.zeros_like(t) for t in (q, k, v))
        owed = row.clone()
        at_once = max(1, WEIGHTS_AT_ONCE // (batch * heads * count))
        for first in range(0, asking, at_once):
            some = slice(first, min(first + at_once, asking))
            q_some, of_some = q[:, :, some], of_mixed[:, :, some]
            weights = (q_some @ k.mT).mul_(ctx.scale).softmax(-1)  # (b, h, some, n)
            spoke = (of_some @ v.mT).mul_(weights)  # times its gradient
            owed += (row[:, None, None, some] @ spoke.clamp(min=0)).squeeze(2).mean(1)
            if is_first_block:
                continue
            of_v += weights.mT @ of_some
            through = (of_some * mixed[:, :, some]).sum(-1, keepdim=True)
            of_scores = spoke.sub_(weights.mul_(through)).mul_(ctx.scale)
            of_q[:, :, some] = of_scores @ k
            of_k += of_scores.mT @ q_some
        ctx.carried.row = owed
        return of_q, of_k, of_v, None, None, None


def class_token_relevancy(network: torch.nn.Module, pixels: Tensor, signs: Tensor) -> Tensor:
    """Pictures (b, 3, size, size) -> relevancy (b, n) of the n tokens that follow the class token.

    `signs` (b,): 1 asks what spoke for fake, -1 what spoke for real.
    """
    first = _relevancy_at_once(network, pixels[:1], signs[:1])  # and so how many tokens there are
    at_once = max(1, TOKENS_AT_ONCE // first.shape[1])
    others = zip(pixels[1:].split(at_once), signs[1:].split(at_once), strict=True) if len(pixels) > 1 else ()
    return torch.cat([first, *(_relevancy_at_once(network, *some) for some in others)])


def _relevancy_at_once(network: torch.nn.Module, pixels: Tensor, signs: Tensor) -> Tensor:
    carried = Carried()
    with torch.enable_grad(), frozen(network), InsteadOfAttention(carried.attend):
        logits = network(pixels)
    torch.autograd.grad((signs * logits).sum(), carried.anchor, allow_unused=True)
    if carried.row is None:
        raise TypeError("the network has no attention to ask")
    return carried.row[:, 1:]


def attention_weights(network: torch.nn.Module, pixels: Tensor) -> list[Tensor]:
    """Of each block, how the tokens that ask weigh all tokens (b, m, n), the mean over the heads."""
    found: list[Tensor] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
        weights = (q @ k.mT * (scale or q.shape[-1] ** -0.5)).softmax(-1)
        found.append(weights.mean(1))
        return weights @ v

    with torch.no_grad(), InsteadOfAttention(attend):
        network(pixels)
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
def outputs_of(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the module puts out, as tensors that gradients can be asked for; below them there are none."""
    outputs: list[Tensor] = []

    def record(module: torch.nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    hook = module.register_forward_hook(record)
    try:
        yield outputs
    finally:
        hook.remove()
