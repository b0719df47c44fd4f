"""Adversarial attacks under the L-infinity norm: FGSM (Goodfellow et al. 2015) and PGD (Madry et al. 2018).

The attacker knows the network (white box). Budgets are grey levels of 255. The attacked pictures are whole grey levels again,
so they could be stored in a file.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.input_contract import InputContract

PGD_STEPS = 10
STEP_SHARE = 0.25  # size of a PGD step as a share of the budget


def fgsm(network: nn.Module, contract: InputContract, pictures: Tensor, labels: Tensor, budget: float) -> Tensor:
    """Take one step of the full budget along the sign of the gradient."""
    pixels = pictures.float()
    return _quantise(pixels + budget * _gradient(network, contract, pixels, labels).sign(), pixels, budget)


def pgd(network: nn.Module, contract: InputContract, pictures: Tensor, labels: Tensor, budget: float) -> Tensor:
    """Take small steps, and project back into the budget after each."""
    pixels = pictures.float()
    attacked = pixels.clone()
    for _ in range(PGD_STEPS):
        attacked = attacked + STEP_SHARE * budget * _gradient(network, contract, attacked, labels).sign()
        attacked = (pixels + (attacked - pixels).clamp(-budget, budget)).clamp(0, 255)
    return _quantise(attacked, pixels, budget)


ATTACKS: dict[str, Callable[[nn.Module, InputContract, Tensor, Tensor, float], Tensor]] = {"fgsm": fgsm, "pgd": pgd}


def _gradient(network: nn.Module, contract: InputContract, pixels: Tensor, labels: Tensor) -> Tensor:
    """Gradient by each pixel (b, size, size, 3) that moves the logit away from the label.

    The gradient of the loss would vanish where the network is confident, and the attack with it.
    """
    pixels = pixels.detach().requires_grad_()
    objective = ((1 - 2 * labels.float()) * network(contract.normalise(pixels)).flatten()).sum()
    return torch.autograd.grad(objective, pixels)[0]


def _quantise(attacked: Tensor, pixels: Tensor, budget: float) -> Tensor:
    """Round to whole grey levels within the budget."""
    rounded = pixels + (attacked - pixels).clamp(-budget, budget).round().clamp(-int(budget), int(budget))
    return rounded.clamp(0, 255).byte()
