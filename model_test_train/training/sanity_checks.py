"""`train_model.py --sanity`: quick checks before a long training run.

They check that crops can be read, that classes are balanced, that every trainable weight gets a gradient, and that the network
can overfit one batch. A picture of that batch shows the augmented crops that the network receives.
"""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from explain_deepfakes.model_test_train.training.augmentations.mixing import Batch
from explain_deepfakes.model_test_train.training.data import (
    Sample,
    SampleGroups,
    TrainingDataset,
    forgery_probability,
    training_batches,
)
from explain_deepfakes.model_test_train.training.trainer import Recipe, Run, Trainer, begin_run
from explain_deepfakes.pipeline.outputs import write_bytes
from explain_deepfakes.preprocessing.crops.stores import UnreadableCrop, read_crop, read_mask

MAX_READ = 500  # groups whose crops are read
MIN_CLASS_SHARE = 0.1  # of either class
STEPS, OVERFIT_SHARE = 60, 0.1  # to overfit a batch, its loss has to fall to this share
COLUMNS = 8


class CheckResult(NamedTuple):
    passed: bool
    message: str


def run_checks(run: Run, dataset: TrainingDataset, recipe: Recipe, seed: int, picture: Path) -> Iterator[CheckResult]:
    """Run all checks, and write the picture of a batch."""
    yield check_crops(dataset.groups, seed)
    yield check_class_balance(dataset)
    batch = next(iter(training_batches(dataset, recipe.batch_size, 0, seed, 0)))
    draw_batch(batch, picture)
    yield CheckResult(True, f"augmented batch written to {picture}")
    yield check_gradients(run, recipe, batch, seed)
    yield overfits_one_batch(run, recipe, batch, seed)


def check_crops(groups: SampleGroups, seed: int) -> CheckResult:
    chosen = random.Random(seed).sample(range(len(groups)), min(MAX_READ, len(groups)))
    errors = [error for index in chosen for sample in groups[index] if (error := _reading_error(sample))]
    if errors:
        return CheckResult(
            False, f"{len(errors)} of the crops of {len(chosen)} groups cannot be read; the first error: {errors[0]}"
        )
    return CheckResult(True, f"the crops of {len(chosen)} of {len(groups)} groups can all be read")


def _reading_error(sample: Sample) -> str | None:
    try:
        read_crop(sample.crop.path)
        if sample.crop.mask:
            read_mask(sample.crop.mask)
    except (UnreadableCrop, OSError) as error:
        return str(error)
    return None


def check_class_balance(dataset: TrainingDataset) -> CheckResult:
    """Check the share of fakes, including those that augmentation will forge."""
    fake_counts, total = dataset.groups.fake_counts(), len(dataset.groups.samples)
    forged = round(forgery_probability(dataset.augmentation) * int((fake_counts == 0).sum()))
    fakes, total = int(fake_counts.sum()) + forged, total + forged
    share = fakes / max(1, total)
    message = f"{fakes} of {total} training pictures are fake ({share:.0%})"
    if MIN_CLASS_SHARE <= share <= 1 - MIN_CLASS_SHARE:
        return CheckResult(True, message)
    return CheckResult(False, f"{message}; see training.paired, rebalancing_real, rebalancing_fake and class_weights")


def check_gradients(run: Run, recipe: Recipe, batch: Batch, seed: int) -> CheckResult:
    """Check that one batch gives every trainable weight a gradient."""
    trainer = _new_trainer(run, recipe, seed)
    trainer.step(batch)
    trainable = {name: weight for name, weight in trainer.run.network.named_parameters() if weight.requires_grad}
    unreached = [name for name, weight in trainable.items() if weight.grad is None or not weight.grad.any()]
    if unreached:
        message = f"no gradient reaches {len(unreached)} of {len(trainable)} trainable weights; the first: {unreached[0]}"
        return CheckResult(False, message)
    return CheckResult(True, f"a gradient reaches each of {len(trainable)} weights")


def _new_trainer(run: Run, recipe: Recipe, seed: int) -> Trainer:
    """A trainer of a copy of the network, without settings that prevent overfitting."""
    simplified = replace(recipe, warmup_epochs=0.0, label_smoothing=0.0)
    trainer = Trainer(begin_run(copy.deepcopy(run.network), simplified, STEPS, 1000), simplified, seed)
    trainer.run.network.train()
    return trainer


def overfits_one_batch(run: Run, recipe: Recipe, batch: Batch, seed: int) -> CheckResult:
    """Check that repeated steps on one batch make its loss fall."""
    trainer = _new_trainer(run, recipe, seed)
    first = last = trainer.step(batch)[0]
    for _ in range(STEPS):
        last = trainer.step(batch)[0]
        if last < OVERFIT_SHARE * first:
            break
    message = f"overfitting one batch reduced its loss from {first:.3g} to {last:.3g}"
    if last < OVERFIT_SHARE * first:
        return CheckResult(True, message)
    hint = "the learning rate may be too low or too high, or labels may not match their pictures"
    return CheckResult(False, f"{message} in {STEPS} steps; {hint}")


def draw_batch(batch: Batch, picture: Path) -> None:
    """Write all pictures of a batch to one file, fakes with a red frame."""
    tiles = []
    for pixels, label in zip(batch[0].numpy(), batch[1].tolist(), strict=True):
        colour = (40, 40, 220) if label > 0.5 else (120, 120, 120)
        tiles.append(cv2.copyMakeBorder(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=colour))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    sheet = np.vstack([np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)])
    write_bytes(picture, cv2.imencode(".png", sheet)[1].tobytes())
