"""The training engine: a network, batches and a recipe -> the best network that validation saw.

Every epoch ends in a state on disk; a run that was killed goes on from there and ends with the same bits.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel

from model_test_train.crop_dataset import Batch
from model_test_train.inputs import InputContract
from model_test_train.networks.network import Network
from pipeline.params import setting

LEAST_TO_SEE = 0.5  # places; what was changed less is not asked to be looked at


@dataclass(frozen=True)
class Recipe:
    """The `training` section of a network's YAML."""

    optimizer: str = setting("", choices=("adamw", "sgd"))
    lr: float = setting("", low=0)
    weight_decay: float = setting("", low=0)
    scheduler: str = setting("", choices=("cosine", "steplr"))
    warmup_epochs: float = setting("", low=0)
    step_size: int = setting("epochs between two steps of steplr", low=1)
    gamma: float = setting("what steplr multiplies the rate by", low=0, high=1)
    batch_size: int = setting("pictures", low=2)
    frames_per_video: int = setting("equidistant", low=1)
    paired: bool = setting("each fake beside its original")
    rebalancing_real: float = setting("share of a real video's frames, where not paired", low=0, high=1)
    rebalancing_fake: float = setting("share of a fake video's frames, where not paired", low=0, high=1)
    mask_weight: float = setting("of the loss that asks each place whether it was changed; 0: not asked", low=0)
    gaze_weight: float = setting("of the loss that asks the class token to look at what was changed; 0: not asked", low=0)
    label_smoothing: float = setting("", low=0, high=0.5)
    clip_gradient: float = setting("norm; 0 doesn't clip", low=0)
    ema: float = setting("decay of the weights' moving average; 0 keeps the last weights", low=0, high=1)
    flip: float = setting("probability", low=0, high=1)
    shift: float = setting("of the crop's side, at most", low=0, high=0.5)
    brightness: float = setting("relative, at most", low=0, high=1)
    contrast: float = setting("relative, at most", low=0, high=1)
    noise: float = setting("standard deviation in grey levels, at most", low=0)


@dataclass
class Run:
    """A training run: everything that changes while it trains."""

    network: Network
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best epoch
    history: list[dict[str, float]] = field(default_factory=list)  # figures of each finished epoch

    @property
    def averaged(self) -> Network:
        """The network with the moving average of its weights."""
        return cast(Network, self.average.module)

    def state(self) -> dict[str, Any]:
        """All of it, as plain values and tensors that `torch.load(weights_only=True)` reads."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer", "schedule")}
        plain = {name: getattr(self, name) for name in ("epoch", "best_epoch", "best", "history")}
        return {**parts, **plain}

    def restore(self, state: dict[str, Any]) -> None:
        for name in ("network", "average", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("epoch", "best_epoch", "best", "history"):
            setattr(self, name, state[name])


def begin_run(network: Network, recipe: Recipe, steps_per_epoch: int, num_epochs: int) -> Run:
    """A run at its first step."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(parameters, recipe.lr, weight_decay=recipe.weight_decay)
    factor = learning_rate_factor(recipe, steps_per_epoch, num_epochs)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return Run(network, AveragedModel(network, avg_fn=moving_average(recipe.ema), use_buffers=True), optimizer, schedule)


def learning_rate_factor(recipe: Recipe, steps_per_epoch: int, num_epochs: int) -> Callable[[int], float]:
    """step -> what the learning rate is multiplied by."""
    warmup, total = recipe.warmup_epochs * steps_per_epoch, num_epochs * steps_per_epoch

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if recipe.scheduler == "steplr":
            return recipe.gamma ** (step // (recipe.step_size * steps_per_epoch))
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return factor


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Moves fast at first, so that the average forgets the random weights it began with."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, (1 + int(count)) / (10 + int(count))) if decay else 0.0
        return averaged.lerp(current, 1 - now) if averaged.is_floating_point() else current

    return average


def train_epoch(run: Run, batches: Iterable[Batch], contract: InputContract, recipe: Recipe, seed: int) -> float:
    """One pass over the batches; returns the mean loss."""
    torch.manual_seed(seed * 100_003 + run.epoch)  # of dropout: the same whether or not the run was interrupted
    device = next(run.network.parameters()).device
    run.network.train()
    losses = []
    for pictures, labels, masks in batches:
        pixels = contract.normalise(pictures.to(device))
        loss = loss_of(run.network, pixels, labels.to(device), masks.to(device), recipe)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_gradient:
            nn.utils.clip_grad_norm_(run.network.parameters(), recipe.clip_gradient)
        run.optimizer.step()
        run.schedule.step()
        run.average.update_parameters(run.network)
        losses.append(loss.detach())
    run.epoch += 1
    return torch.stack(losses).mean().item()


def loss_of(network: Network, pixels: Tensor, labels: Tensor, masks: Tensor, recipe: Recipe) -> Tensor:
    """Was the picture changed; was each place of it; and did the class token look there, where the truth is known?"""
    targets = labels * (1 - 2 * recipe.label_smoothing) + recipe.label_smoothing
    if not (recipe.mask_weight or recipe.gaze_weight):
        return binary_cross_entropy_with_logits(network(pixels), targets)
    logits, place_logits, gaze = network.judge_places(pixels)
    known = ~masks.isnan()
    place_losses = binary_cross_entropy_with_logits(place_logits, masks.nan_to_num(), reduction="none")
    place_loss = (place_losses * known).sum() / known.sum().clamp(min=1)
    changed = masks.nan_to_num()
    to_see = changed.sum((1, 2)) >= LEAST_TO_SEE
    gaze_losses = -((gaze * changed).sum((1, 2)) + 1e-4).log()
    gaze_loss = (gaze_losses * to_see).sum() / to_see.sum().clamp(min=1)
    verdict_loss = binary_cross_entropy_with_logits(logits, targets)
    return verdict_loss + recipe.mask_weight * place_loss + recipe.gaze_weight * gaze_loss


def keep_if_best(run: Run, figures: dict[str, float]) -> None:
    """Notes the finished epoch's figures; its averaged weights are kept if no epoch validated better."""
    best = min((row["val_loss"] for row in run.history), default=math.inf)
    run.history.append({"epoch": run.epoch, **figures})
    if figures["val_loss"] < best:
        run.best_epoch = run.epoch
        run.best = copy.deepcopy(run.averaged.state_dict())


def is_stale(run: Run, patience: int) -> bool:
    """Whether validation has not improved for `patience` epochs."""
    return run.epoch - run.best_epoch >= patience
