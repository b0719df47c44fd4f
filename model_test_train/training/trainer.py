"""The training engine: a network, batches and a recipe -> the best network that validation saw.

What a run knows lies on disk now and then, in the middle of an epoch too; one that was killed goes on from there and ends with
the same bits, for whatever is drawn at random depends on the seed and the step alone.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from model_test_train.networks.checkpoint import are_finite
from model_test_train.networks.network import Network
from model_test_train.training.augmentations.augmentation import NO_AUGMENTATION, Augmentation
from model_test_train.training.augmentations.mixing import Batch
from model_test_train.training.distributed import ALONE, ProcessGroup
from model_test_train.training.losses import DetectionLoss, counted
from pipeline.errors import UserError
from pipeline.params import setting

# The whole, and what it is put together from: was it changed, was each place, did the class token look there?
LOSSES = ("train_loss", "verdict_loss", "patch_loss", "attention_loss")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Phase:
    """A stretch of a training run, in which only a part of the network learns."""

    after: int = setting("epochs", low=0)
    learns: tuple[str, ...] = setting("patterns for names of weights, such as detector.*")
    lr: float = setting("", low=1e-12)


@dataclass(frozen=True)
class Recipe:
    """The `training` section of a network's YAML."""

    optimizer: str = setting("", choices=("adamw", "sgd"))
    lr: float = setting("", low=1e-12)
    weight_decay: float = setting("", low=0)
    scheduler: str = setting("", choices=("cosine", "steplr"))
    warmup_epochs: float = setting("", low=0)
    step_size: int = setting("epochs between two steps of steplr", low=1)
    gamma: float = setting("what steplr multiplies the rate by", low=0, high=1)
    batch_size: int = setting("pictures, of all processes together", low=2)
    accumulation: int = setting("parts that a batch is learnt from one after the other, where memory is short", low=1)
    frames_per_video: int = setting("equidistant", low=1)
    paired: bool = setting("each fake beside its original; those without a pair alone")
    rebalancing_real: float = setting("share of a real video's frames, where it has no pair", low=0, high=1)
    rebalancing_fake: float = setting("share of a fake video's frames, where it has no pair", low=0, high=1)
    mask_weight: float = setting("of the loss that asks each place whether it was changed; 0: not asked", low=0)
    attention_loss_weight: float = setting(
        "of the loss that asks the class token to look at what was changed; 0: not asked", low=0
    )
    label_smoothing: float = setting("", low=0, high=0.5)
    class_weights: tuple[float, ...] = setting("of the loss of real and of fake pictures, as [real,fake]", low=0)
    clip_gradient: float = setting("norm; 0 doesn't clip", low=0)
    most_false_alarms: float = setting("share of the real validation videos that the threshold may call fake", low=0, high=1)
    ema: float = setting("decay of the weights' moving average; 0 keeps the last weights", low=0, high=1)
    phases: tuple[Phase, ...] = setting("what learns when; none: all of it, always")

    def phase(self, epoch: int) -> Phase | None:
        """The one that epoch is in, counted from 0."""
        return max((phase for phase in self.phases if phase.after <= epoch), key=lambda phase: phase.after, default=None)


@dataclass
class Run:
    """A training run: everything that changes while it trains."""

    network: Network
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    fixed: frozenset[str] = frozenset()  # weights that never learn
    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the one that is going on
    loss_sums: list[float] = field(default_factory=list)  # over these steps, of each of LOSSES
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best epoch
    history: list[dict[str, float]] = field(default_factory=list)  # figures of each finished epoch
    calibrations: list[dict[str, Any]] = field(default_factory=list)  # of its network

    MODULES = ("network", "average", "optimizer", "schedule", "scaler")
    PLAIN = ("epoch", "step", "loss_sums", "best_epoch", "best", "history", "calibrations")

    @property
    def averaged(self) -> Network:
        """The network with the moving average of its weights."""
        return cast(Network, self.average.module)

    def note(self, losses: list[float]) -> None:
        """A step is finished."""
        self.loss_sums = [before + loss for before, loss in zip(self.loss_sums or [0.0] * len(losses), losses, strict=True)]
        self.step += 1

    def is_finite(self) -> bool:
        """Whether each weight is a number still. What has diverged never recovers, and must not be saved over what has not."""
        return all(are_finite(module.state_dict().values()) for module in (self.network, self.average))

    def without_fixed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those that a run has changed; the others are as the network was built."""
        return {name: value for name, value in weights.items() if name.removeprefix("module.") not in self.fixed}

    def state(self) -> dict[str, Any]:
        """All of it, as plain values and tensors that `torch.load(weights_only=True)` reads."""
        parts = {name: self.without_fixed(getattr(self, name).state_dict()) for name in self.MODULES}
        return {**parts, **{name: getattr(self, name) for name in self.PLAIN}}

    def restore(self, state: dict[str, Any]) -> None:
        try:
            for name in self.MODULES:
                part = getattr(self, name)
                part.load_state_dict({**(part.state_dict() if name in ("network", "average") else {}), **state[name]})
            for name in self.PLAIN:
                setattr(self, name, state[name])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"the state to resume from is of another network or recipe ({str(error).splitlines()[0]})"
            ) from error


def begin_run(network: Network, recipe: Recipe, steps_per_epoch: int, num_epochs: int, precision: str = "float32") -> Run:
    """A run at its first step. What learns in no phase, or was built not to, is fixed."""
    learning = dict(learning_in(network, [pattern for phase in recipe.phases for pattern in phase.learns] or ["*"]))
    fixed = frozenset(name for name, _ in network.named_parameters()) - set(learning)
    parameters = list(learning.values())
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
    else:
        optimizer = torch.optim.SGD(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_factor(recipe, steps_per_epoch, num_epochs))
    average = AveragedModel(network, avg_fn=moving_average(recipe.ema), use_buffers=True)
    device = next(network.parameters()).device
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    return Run(network, average, optimizer, schedule, scaler, fixed)


def learning_in(network: nn.Module, patterns: Sequence[str]) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that may learn and whose names one of the patterns fits."""
    for pattern in patterns:
        if not any(fits(name, [pattern]) for name, _ in network.named_parameters()):
            raise UserError(f"training.phases: the network has no weights '{pattern}'; there are such as {_first(network)}")
    for name, weight in network.named_parameters():
        if weight.requires_grad and fits(name, patterns):
            yield name, weight


def fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _first(network: nn.Module) -> str:
    return next(name for name, _ in network.named_parameters())


def learning_rate_factor(recipe: Recipe, steps_per_epoch: int, num_epochs: int) -> Callable[[int], float]:
    """step -> what the learning rate is multiplied by; each phase warms up, and cools down, by itself."""
    begins = [phase.after for phase in recipe.phases] or [0]
    warmup = recipe.warmup_epochs * steps_per_epoch

    def factor(step: int) -> float:
        epoch = step // steps_per_epoch
        phase = recipe.phase(epoch)
        begin = phase.after if phase else 0
        share = phase.lr / recipe.lr if phase else 1.0
        end = min([other for other in begins if other > begin], default=num_epochs)
        done, total = step - begin * steps_per_epoch, (end - begin) * steps_per_epoch
        if done < warmup:
            return share * (done + 1) / (warmup + 1)
        if recipe.scheduler == "steplr":
            return share * recipe.gamma ** (done // (recipe.step_size * steps_per_epoch))
        return share * 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1, total - warmup)))

    return factor


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Moves fast at first, so that the average forgets the random weights it began with."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, (1 + int(count)) / (10 + int(count))) if decay else 0.0
        return averaged.lerp(current, 1 - now) if averaged.is_floating_point() else current

    return average


class Trainer:
    """Teaches a run's network, batch by batch, alone or as one of a team."""

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        seed: int,
        team: ProcessGroup = ALONE,
        precision: str = "float32",
        augmentation: Augmentation = NO_AUGMENTATION,
        compiles: bool = False,
    ) -> None:
        self.run, self.recipe, self.seed, self.team, self.augmentation = run, recipe, seed, team, augmentation
        self.compiles = compiles
        self.device = next(run.network.parameters()).device
        self.precision = PRECISIONS[precision]
        self.parts, self.pictures_a_second = recipe.accumulation, 0.0
        self.weights = torch.tensor([1.0, recipe.mask_weight, recipe.attention_loss_weight], device=self.device)
        self.phase: Phase | None = None
        self.enter(recipe.phase(run.epoch))

    def enter_phase(self) -> bool:
        """Whether another phase begins with the epoch that comes."""
        phase = self.recipe.phase(self.run.epoch)
        begins = phase is not self.phase
        if begins:
            self.enter(phase)
        return begins

    def enter(self, phase: Phase | None) -> None:
        """From here on only what the phase names learns; what rests has no gradients, and keeps its statistics."""
        run, recipe = self.run, self.recipe
        self.phase = phase
        if phase:
            for name, weight in run.network.named_parameters():
                weight.requires_grad_(name not in run.fixed and fits(name, phase.learns))
        patch_head = bool(recipe.mask_weight or recipe.attention_loss_weight)
        self.detection_loss: nn.Module = DetectionLoss(run.network, recipe.label_smoothing, recipe.class_weights, patch_head)
        if self.team.size > 1:
            unused = run.network.places is not None and not patch_head
            self.detection_loss = DistributedDataParallel(self.detection_loss, find_unused_parameters=unused)
        if self.compiles:
            self.detection_loss.compile()

    def learning_share(self) -> str:
        """What of the network learns now, in words."""
        sizes = [(weight.numel(), weight.requires_grad) for weight in self.run.network.parameters()]
        learns, total = sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)
        return f"{learns:,} of {total:,} weights learn ({100 * learns / total:.3g} %)"

    def train_epoch(self, batches: Iterable[Batch], save: Callable[[], None], save_seconds: float) -> dict[str, float]:
        """The steps that are left of an epoch; `save` is called that often. Returns the mean losses of the whole epoch."""
        run, begun = self.run, time.monotonic()
        saved, pictures = begun, 0
        run.network.train()
        for batch in batches:
            losses = self.step(batch)
            if not all(map(math.isfinite, losses)):
                raise diverged(run, f"the loss is {losses[0]}")
            run.note(losses)
            pictures += self.team.size * len(batch[1])
            if time.monotonic() - saved >= save_seconds:
                save()
                saved = time.monotonic()
        if not run.is_finite():
            raise diverged(run, "its last step left weights that are not numbers")
        self.pictures_a_second = pictures / max(time.monotonic() - begun, 1e-9)
        means = {name: total / max(1, run.step) for name, total in zip(LOSSES, run.loss_sums, strict=False)}
        run.epoch, run.step, run.loss_sums = run.epoch + 1, 0, []
        return means

    def step(self, batch: Batch) -> list[float]:
        """One step of the optimiser: the LOSSES. Where the GPU's memory is short, by more and smaller parts of the batch."""
        run = self.run
        batch = self.augmentation.mix(batch, (self.seed, run.epoch, run.step, self.team.rank))
        pixels, labels, masks = (part.to(self.device, non_blocking=True) for part in batch)
        pixels = run.network.input.normalise(pixels)
        while True:
            try:
                losses = self._learn(pixels, labels, masks)
                break
            except torch.OutOfMemoryError:
                if self.team.size > 1 or 2 * self.parts > len(labels):
                    raise UserError(
                        f"the GPU's memory does not suffice for {len(labels) // self.parts} pictures at once; "
                        "lower training.batch_size, or raise training.accumulation"
                    ) from None
            self.parts *= 2
            torch.cuda.empty_cache()
            print(f"the GPU's memory is short: each batch is now learnt from in {self.parts} parts", file=sys.stderr)
        if self.recipe.clip_gradient:
            run.scaler.unscale_(run.optimizer)
            nn.utils.clip_grad_norm_(run.network.parameters(), self.recipe.clip_gradient)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.schedule.step()
        run.average.update_parameters(run.network)
        return losses

    def _learn(self, pixels: Tensor, labels: Tensor, masks: Tensor) -> list[float]:
        """The losses and their gradients: of all members' pictures, however they are shared out."""
        torch.manual_seed(_mixed(self.seed, self.run.epoch, self.run.step, self.team.rank))  # of dropout
        self.run.optimizer.zero_grad(set_to_none=True)
        counts = self.team.sum(counted(labels, masks)).clamp(min=1)
        total = torch.zeros(len(LOSSES), device=self.device)
        shares = [part.tensor_split(self.parts) for part in (pixels, labels, masks)]
        for number, share in enumerate(zip(*shares, strict=True)):
            is_last = number == self.parts - 1
            waits = nullcontext() if is_last or self.team.size == 1 else cast(Any, self.detection_loss).no_sync()
            with waits, torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                losses = self.detection_loss(*share) / counts
                loss = losses @ self.weights
                # The members' gradients are averaged, where the sum is meant.
                self.run.scaler.scale(self.team.size * loss).backward()
            total += torch.cat((loss[None], losses)).detach()
        return self.team.sum(total).tolist()


def diverged(run: Run, how: str) -> UserError:
    return UserError(
        f"training diverged in step {run.step} of epoch {run.epoch + 1}: {how}. The last good state is kept; lower "
        "training.lr in the network's YAML, or set training.clip_gradient there to 1"
    )


def _mixed(*numbers: int) -> int:
    """A seed for each combination of these."""
    mixed = 0
    for number in numbers:
        mixed = mixed * 100_003 + number
    return mixed % 2**63


def keep_if_best(run: Run, figures: dict[str, float]) -> None:
    """Notes the finished epoch's figures; its averaged weights are kept if no epoch validated better."""
    best = min((row["val_loss"] for row in run.history), default=math.inf)
    run.history.append({"epoch": run.epoch, **figures})
    if figures["val_loss"] < best:
        run.best_epoch = run.epoch
        run.best = copy.deepcopy(run.without_fixed(run.averaged.state_dict()))


def is_stale(run: Run, recipe: Recipe, patience: int) -> bool:
    """Whether validation has not improved for `patience` epochs of the last phase."""
    last = max((phase.after for phase in recipe.phases), default=0)
    return run.epoch - max(run.best_epoch, last) >= patience
