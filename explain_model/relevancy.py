"""Relevancy: how much each token of a transformer spoke for the logit, by the rules of Chefer et al. (ICCV 2021).

Each block's attention is multiplied by its gradient, the positive part averaged over the heads (A), and R <- R + A R
accumulated from the identity. Only the class token's row of R is needed, so a row is carried down instead of a matrix.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def recorded(modules: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what the modules put out during a forward pass, as tensors that gradients can be asked for."""
    outputs: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # Nothing below the first attention needs a gradient: the graph begins here, not in the CNN.
        output = output if output.requires_grad else output.detach().requires_grad_()
        outputs.append(output)
        return output

    hooks = [module.register_forward_hook(record) for module in modules]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def attention_modules(network: nn.Module) -> list[nn.Module]:
    """The softmax of each block, from the first block to the last."""
    return [module for name, module in network.named_modules() if name.endswith(".attend")]


def class_token_relevancy(network: nn.Module, pixels: Tensor, signs: Tensor) -> Tensor:
    """Pictures (b, 3, size, size) -> relevancy (b, n) of the n tokens that follow the class token.

    `signs` (b,): 1 asks what spoke for fake, -1 what spoke for real.
    """
    with torch.enable_grad(), recorded(attention_modules(network)) as attentions:
        logits = network(pixels)
        gradients = torch.autograd.grad((signs * logits).sum(), attentions)
    row = torch.zeros(len(pixels), 1, attentions[0].shape[-1], device=pixels.device)
    row[:, :, 0] = 1
    for attention, gradient in zip(reversed(attentions), reversed(gradients), strict=True):
        row = row + row @ (attention.detach() * gradient).clamp(min=0).mean(1)  # (b, 1, n) @ (b, n, n)
    return row[:, 0, 1:]
