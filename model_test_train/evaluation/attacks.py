"""Pictures changed by no more than a budget for each pixel, so as to be judged wrong: FGSM and PGD under the L-infinity norm.

The attacker knows the network (Goodfellow et al. 2015, Madry et al. 2018). Budgets are grey levels of 255, and the changed
pictures are whole grey levels again: what is judged could be a file.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model_test_train.networks.input_contract import InputContract

PGD_STEPS = 10
STEP_SHARE = 0.25  # of the budget, that a step of PGD goes


def fgsm(network: nn.Module, contract: InputContract, pictures: Tensor, labels: Tensor, budget: float) -> Tensor:
    """One step, as far as the budget allows."""
    pixels = pictures.float()
    return _within(pixels + budget * _slope(network, contract, pixels, labels).sign(), pixels, budget)


def pgd(network: nn.Module, contract: InputContract, pictures: Tensor, labels: Tensor, budget: float) -> Tensor:
    """Small steps, each back into the budget."""
    pixels = pictures.float()
    changed = pixels.clone()
    for _ in range(PGD_STEPS):
        changed = changed + STEP_SHARE * budget * _slope(network, contract, changed, labels).sign()
        changed = (pixels + (changed - pixels).clamp(-budget, budget)).clamp(0, 255)
    return _within(changed, pixels, budget)


ATTACKS: dict[str, Callable[[nn.Module, InputContract, Tensor, Tensor, float], Tensor]] = {"fgsm": fgsm, "pgd": pgd}


def _slope(network: nn.Module, contract: InputContract, pixels: Tensor, labels: Tensor) -> Tensor:
    """By each pixel of the pictures (b, size, size, 3): where the logit leaves its label.

    Not of the loss, which is flat where the network is sure, as if there were nothing to gain.
    """
    pixels = pixels.detach().requires_grad_()
    away = ((1 - 2 * labels.float()) * network(contract.normalise(pixels)).flatten()).sum()
    return torch.autograd.grad(away, pixels)[0]


def _within(changed: Tensor, pixels: Tensor, budget: float) -> Tensor:
    """Whole grey levels, none further off than the budget."""
    whole = pixels + (changed - pixels).clamp(-budget, budget).round().clamp(-int(budget), int(budget))
    return whole.clamp(0, 255).byte()
