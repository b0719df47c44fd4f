"""The training loop: trains a network by a recipe and keeps the weights that validate best.

The state of a run is saved regularly, also within an epoch. A run that is killed and resumed ends with the same bits, because
all random draws depend only on the seed and the step.
"""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from explain_deepfakes.model_test_train.networks.checkpoint import are_finite
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.training.augmentations.augmentation import NO_AUGMENTATION, Augmentation
from explain_deepfakes.model_test_train.training.augmentations.mixing import Batch
from explain_deepfakes.model_test_train.training.distributed import SINGLE_PROCESS, ProcessGroup
from explain_deepfakes.model_test_train.training.losses import LOSS_NAMES, DetectionLoss, EmbeddingWeights, loss_counts
from explain_deepfakes.pipeline.calibration_table import CalibrationTable
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import setting


@dataclass(frozen=True)
class Phase:
    """A phase of a training run, in which only some weights are trained."""

    after: int = setting("epoch at which the phase begins", low=0)
    learns: tuple[str, ...] = setting("patterns of weight names to train, such as head.*")
    lr: float = setting("learning rate of the phase", low=1e-12)


@dataclass(frozen=True)
class Recipe:
    """The `training` section of a network's YAML."""

    optimizer: str = setting("optimiser", choices=("adamw", "sgd"))
    lr: float = setting("learning rate", low=1e-12)
    weight_decay: float = setting("weight decay", low=0)
    scheduler: str = setting("learning rate schedule", choices=("cosine", "steplr"))
    warmup_epochs: float = setting("epochs of linear warm-up of the learning rate", low=0)
    step_size: int = setting("epochs between two steps of steplr", low=1)
    gamma: float = setting("factor of the learning rate at each step of steplr", low=0, high=1)
    batch_size: int = setting("pictures per batch, over all processes", low=2)
    accumulation: int = setting("gradient accumulation steps per batch, to save memory", low=1)
    frames_per_video: int = setting("evenly spaced frames used of each video", low=1)
    paired: bool = setting("group each fake with the same frame of its original")
    rebalancing_real: float = setting("share of the frames used of an unpaired real video", low=0, high=1)
    rebalancing_fake: float = setting("share of the frames used of an unpaired fake video", low=0, high=1)
    mask_weight: float = setting("weight of the patch loss; 0 disables it", low=0)
    attention_loss_weight: float = setting("weight of the class-token attention loss; 0 disables it", low=0)
    alignment_weight: float = setting("weight of the alignment loss: unit vectors of one class are near; 0 disables it", low=0)
    uniformity_weight: float = setting("weight of the uniformity loss: unit vectors are spread; 0 disables it", low=0)
    label_smoothing: float = setting("label smoothing", low=0, high=0.5)
    class_weights: tuple[float, ...] = setting("loss weights of real and of fake pictures, as [real,fake]", low=0)
    clip_gradient: float = setting("largest norm of the gradient; 0 disables clipping", low=0)
    most_false_alarms: float = setting("largest false-alarm rate of the threshold on validation videos", low=0, high=1)
    ema: float = setting("decay of the moving average of weights; 0 disables averaging", low=0, high=1)
    phases: tuple[Phase, ...] = setting("which weights are trained when; empty: all weights, always")

    def phase(self, epoch: int) -> Phase | None:
        """The phase of an epoch, counted from 0."""
        return max((phase for phase in self.phases if phase.after <= epoch), key=lambda phase: phase.after, default=None)


@dataclass
class Run:
    """A training run: all state that changes during training."""

    network: Network
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    fixed: frozenset[str] = frozenset()  # names of weights that are never trained
    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the current epoch
    loss_sums: list[float] = field(default_factory=list)  # over these steps, of each of LOSS_NAMES
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best epoch
    history: list[dict[str, float]] = field(default_factory=list)  # metrics of each finished epoch
    calibrations: list[CalibrationTable] = field(default_factory=list)  # of each epoch's network

    MODULES = ("network", "average", "optimizer", "schedule", "scaler")
    PLAIN = ("epoch", "step", "loss_sums", "best_epoch", "best", "history", "calibrations")

    @property
    def averaged(self) -> Network:
        """The network with the moving average of its weights."""
        return cast(Network, self.average.module)

    def record_step(self, losses: list[float]) -> None:
        """Add the losses of a finished step."""
        self.loss_sums = [total + loss for total, loss in zip(self.loss_sums or [0.0] * len(losses), losses, strict=True)]
        self.step += 1

    def is_finite(self) -> bool:
        """Whether all weights are finite. A diverged run never recovers, so it must not overwrite a good state."""
        return all(are_finite(module.state_dict().values()) for module in (self.network, self.average))

    def without_fixed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights that the run may change; the others are as the network was built."""
        return {name: value for name, value in weights.items() if name.removeprefix("module.") not in self.fixed}

    def state(self) -> dict[str, Any]:
        """The complete state, as plain values and tensors that `torch.load(weights_only=True)` accepts."""
        modules = {name: self.without_fixed(getattr(self, name).state_dict()) for name in self.MODULES}
        return {**modules, **{name: getattr(self, name) for name in self.PLAIN}}

    def restore(self, state: dict[str, Any]) -> None:
        try:
            for name in self.MODULES:
                module = getattr(self, name)
                module.load_state_dict({**(module.state_dict() if name in ("network", "average") else {}), **state[name]})
            for name in self.PLAIN:
                setattr(self, name, state[name])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"the state to resume from is of another network or recipe ({str(error).splitlines()[0]}); start a new run"
            ) from error


def begin_run(network: Network, recipe: Recipe, steps_per_epoch: int, num_epochs: int, precision: str = "float32") -> Run:
    """A run at its first step. Weights that are trained in no phase, or built as frozen, are fixed."""
    trainable = dict(trainable_parameters(network, [pattern for phase in recipe.phases for pattern in phase.learns] or ["*"]))
    fixed = frozenset(name for name, _ in network.named_parameters()) - set(trainable)
    parameters = list(trainable.values())
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


def trainable_parameters(network: nn.Module, patterns: Sequence[str]) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the trainable weights whose names match one of the patterns."""
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name, _ in network.named_parameters()):
            example = next(name for name, _ in network.named_parameters())
            raise UserError(f"training.phases: the network has no weights '{pattern}'; an example of a weight is {example}")
    for name, weight in network.named_parameters():
        if weight.requires_grad and matches(name, patterns):
            yield name, weight


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def learning_rate_factor(recipe: Recipe, steps_per_epoch: int, num_epochs: int) -> Callable[[int], float]:
    """The factor of the learning rate at each step; every phase has its own warm-up and decay."""
    starts = [phase.after for phase in recipe.phases] or [0]
    warmup = recipe.warmup_epochs * steps_per_epoch

    def factor(step: int) -> float:
        epoch = step // steps_per_epoch
        phase = recipe.phase(epoch)
        start = phase.after if phase else 0
        share = phase.lr / recipe.lr if phase else 1.0
        end = min([later for later in starts if later > start], default=num_epochs)
        done, total = step - start * steps_per_epoch, (end - start) * steps_per_epoch
        if done < warmup:
            return share * (done + 1) / (warmup + 1)
        if recipe.scheduler == "steplr":
            return share * recipe.gamma ** (done // (recipe.step_size * steps_per_epoch))
        return share * 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1, total - warmup)))

    return factor


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average with a smaller decay at first, so that it forgets the initial random weights."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        current_decay = min(decay, (1 + int(count)) / (10 + int(count))) if decay else 0.0
        return averaged.lerp(current, 1 - current_decay) if averaged.is_floating_point() else current

    return average


class Trainer:
    """Trains a run's network batch by batch, in one process or in a process group."""

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        seed: int,
        group: ProcessGroup = SINGLE_PROCESS,
        precision: str = "float32",
        augmentation: Augmentation = NO_AUGMENTATION,
        compile: bool = False,
    ) -> None:
        self.run, self.recipe, self.seed, self.group, self.augmentation = run, recipe, seed, group, augmentation
        self.compile = compile
        self.device = next(run.network.parameters()).device
        self.precision: torch.dtype = getattr(torch, precision)
        self.chunks, self.pictures_per_second = recipe.accumulation, 0.0
        self.loss_weights = torch.tensor([1.0, recipe.mask_weight, recipe.attention_loss_weight], device=self.device)
        self.phase: Phase | None = None
        self._start_phase(recipe.phase(run.epoch))

    def enter_phase(self) -> bool:
        """Start the next epoch's phase; returns whether it is a new one."""
        phase = self.recipe.phase(self.run.epoch)
        is_new = phase is not self.phase
        if is_new:
            self._start_phase(phase)
        return is_new

    def _start_phase(self, phase: Phase | None) -> None:
        """Train only the weights of the phase; frozen layers have no gradients and keep their statistics."""
        run, recipe = self.run, self.recipe
        self.phase = phase
        if phase:
            for name, weight in run.network.named_parameters():
                weight.requires_grad_(name not in run.fixed and matches(name, phase.learns))
        patch_head = bool(recipe.mask_weight or recipe.attention_loss_weight)
        embedding_weights = EmbeddingWeights(recipe.alignment_weight, recipe.uniformity_weight)
        self.detection_loss: nn.Module = DetectionLoss(
            run.network, recipe.label_smoothing, recipe.class_weights, patch_head, embedding_weights
        )
        if self.group.size > 1:
            unused = run.network.patch_grid is not None and not patch_head
            self.detection_loss = DistributedDataParallel(self.detection_loss, find_unused_parameters=unused)
        if self.compile:
            self.detection_loss.compile()

    def describe_trainable(self) -> str:
        """The number of weights that are trained now, as a sentence."""
        sizes = [(weight.numel(), weight.requires_grad) for weight in self.run.network.parameters()]
        trained, total = sum(size for size, is_trained in sizes if is_trained), sum(size for size, _ in sizes)
        return f"{trained:,} of {total:,} weights are trained ({100 * trained / total:.3g} %)"

    def train_epoch(self, batches: Iterable[Batch], save: Callable[[], None], save_seconds: float) -> dict[str, float]:
        """Train the remaining steps of an epoch, calling `save` every `save_seconds`; returns the whole epoch's mean losses."""
        run, started = self.run, time.monotonic()
        saved, pictures = started, 0
        run.network.train()
        for batch in batches:
            losses = self.step(batch)
            if not all(map(math.isfinite, losses)):
                raise divergence_error(run, f"the loss is {losses[0]}")
            run.record_step(losses)
            pictures += self.group.size * len(batch[1])
            if time.monotonic() - saved >= save_seconds:
                save()
                saved = time.monotonic()
        if not run.is_finite():
            raise divergence_error(run, "some weights are not finite after its last step")
        self.pictures_per_second = pictures / max(time.monotonic() - started, 1e-9)
        means = {name: total / max(1, run.step) for name, total in zip(LOSS_NAMES, run.loss_sums, strict=bool(run.loss_sums))}
        run.epoch, run.step, run.loss_sums = run.epoch + 1, 0, []
        return means

    def step(self, batch: Batch) -> list[float]:
        """One optimiser step; returns its LOSS_NAMES. If the GPU runs out of memory, the batch is split into more chunks."""
        run = self.run
        batch = self.augmentation.apply_mixing(batch, (self.seed, run.epoch, run.step, self.group.rank))
        pixels, labels, masks = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        pixels = run.network.input.normalise(pixels)
        while True:
            try:
                losses = self._backward(pixels, labels, masks)
                break
            except torch.OutOfMemoryError:
                if self.group.size > 1 or 2 * self.chunks > len(labels):
                    raise UserError(
                        f"the GPU has too little memory for {len(labels) // self.chunks} pictures at once; "
                        "lower training.batch_size or raise training.accumulation"
                    ) from None
            self.chunks *= 2
            torch.cuda.empty_cache()
            print(f"the GPU ran out of memory: each batch is now processed in {self.chunks} chunks", file=sys.stderr)
        if self.recipe.clip_gradient:
            run.scaler.unscale_(run.optimizer)
            nn.utils.clip_grad_norm_(run.network.parameters(), self.recipe.clip_gradient)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.schedule.step()
        run.average.update_parameters(run.network)
        return losses

    def _backward(self, pixels: Tensor, labels: Tensor, masks: Tensor) -> list[float]:
        """Compute the losses of the whole batch and their gradients, however it is split over processes and chunks."""
        torch.manual_seed(_combined_seed(self.seed, self.run.epoch, self.run.step, self.group.rank))  # for dropout
        self.run.optimizer.zero_grad(set_to_none=True)
        counts = self.group.sum(loss_counts(labels, masks)).clamp(min=1)
        total = torch.zeros(len(LOSS_NAMES), device=self.device)
        chunks = zip(*(tensor.tensor_split(self.chunks) for tensor in (pixels, labels, masks)), strict=True)
        for number, chunk in enumerate(chunks, 1):
            # Gradients are exchanged after the last chunk only.
            exchange: AbstractContextManager[None] = nullcontext()
            if number < self.chunks and isinstance(self.detection_loss, DistributedDataParallel):
                exchange = self.detection_loss.no_sync()
            with exchange, torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                losses = self.detection_loss(*chunk) / counts
                loss = losses[:3] @ self.loss_weights + losses[3]
                # DistributedDataParallel averages gradients over processes, but their sum is needed.
                self.run.scaler.scale(self.group.size * loss).backward()
            total += torch.cat((loss[None], losses)).detach()
        return self.group.sum(total).tolist()


def divergence_error(run: Run, reason: str) -> UserError:
    return UserError(
        f"training diverged in step {run.step} of epoch {run.epoch + 1}: {reason}. The last good state is kept; lower "
        "training.lr in the network's YAML, or set training.clip_gradient there to 1"
    )


def _combined_seed(*numbers: int) -> int:
    """A seed for each combination of numbers."""
    seed = 0
    for number in numbers:
        seed = seed * 100_003 + number
    return seed % 2**63


def record_epoch(run: Run, metrics: dict[str, float]) -> None:
    """Record the metrics of the finished epoch, and keep its averaged weights if it is the best so far."""
    best = min((row["val_loss"] for row in run.history), default=math.inf)
    run.history.append({"epoch": run.epoch, **metrics})
    if metrics["val_loss"] < best:
        run.best_epoch = run.epoch
        run.best = copy.deepcopy(run.without_fixed(run.averaged.state_dict()))


def should_stop(run: Run, recipe: Recipe, patience: int) -> bool:
    """Early stopping: whether validation has not improved for `patience` epochs of the last phase."""
    last_start = max((phase.after for phase in recipe.phases), default=0)
    return run.epoch - max(run.best_epoch, last_start) >= patience
