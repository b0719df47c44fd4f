"""`train_model.py --sanity`: what people check by hand before a long run, in a minute, with a sentence for each.

The crops can be read, the labels are balanced enough, every weight that is meant to learn gets a gradient, and the network can
learn one batch by heart. A picture of that batch, as the network sees it, shows what augmentation makes of the crops.
"""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from model_test_train.training.augmentations.mixing import Batch
from model_test_train.training.data import Groups, Sample, TrainingGroups, chance_of_forgery, training_batches
from model_test_train.training.trainer import Recipe, Run, Trainer, begin_run
from pipeline.outputs import write_bytes
from preprocessing.crops.stores import UnreadableCrop, read_crop, read_mask

LOOKED_AT = 500  # crops, at most
LEAST_SHARE = 0.1  # of either class, under which a warning is given
STEPS, LEARNT = 60, 0.1  # to learn a batch by heart: its loss falls to this share
COLUMNS = 8


def check(run: Run, dataset: TrainingGroups, recipe: Recipe, seed: int, picture: Path) -> Iterator[tuple[bool, str]]:
    """Whether each thing is as it should be, and what was found."""
    yield readable(dataset.groups, seed)
    yield balanced(dataset)
    batch = next(iter(training_batches(dataset, recipe.batch_size, 0, seed, 0)))
    draw(batch, picture)
    yield True, f"a batch as the network sees it: {picture}"
    yield reached(run, recipe, batch, seed)
    yield learnt_by_heart(run, recipe, batch, seed)


def readable(groups: Groups, seed: int) -> tuple[bool, str]:
    chosen = random.Random(seed).sample(range(len(groups)), min(LOOKED_AT, len(groups)))
    told = [told for place in chosen for sample in groups[place] if (told := _unreadable(sample))]
    if told:
        return False, f"{len(told)} of the crops of {len(chosen)} groups cannot be read; the first: {told[0]}"
    return True, f"the crops of {len(chosen)} of {len(groups)} groups can all be read"


def _unreadable(sample: Sample) -> str | None:
    try:
        read_crop(sample.crop.path)
        if sample.crop.mask:
            read_mask(sample.crop.mask)
    except (UnreadableCrop, OSError) as error:
        return str(error)
    return None


def balanced(dataset: TrainingGroups) -> tuple[bool, str]:
    """Counting the fakes that augmentation will make of real faces without one."""
    fakes_of, total = dataset.groups.fakes(), len(dataset.groups.samples)
    forged = round(chance_of_forgery(dataset.augmentation) * int((fakes_of == 0).sum()))
    fakes, total = int(fakes_of.sum()) + forged, total + forged
    share = fakes / max(1, total)
    words = f"{fakes} of {total} training pictures are fake ({share:.0%})"
    if LEAST_SHARE <= share <= 1 - LEAST_SHARE:
        return True, words
    return False, f"{words}; see training.paired, rebalancing_real, rebalancing_fake and class_weights"


def reached(run: Run, recipe: Recipe, batch: Batch, seed: int) -> tuple[bool, str]:
    """By a gradient, after one batch."""
    trainer = _beginner(run, recipe, seed)
    trainer.step(batch)
    learns = {name: weight for name, weight in trainer.run.network.named_parameters() if weight.requires_grad}
    idle = [name for name, weight in learns.items() if weight.grad is None or not weight.grad.any()]
    if idle:
        return False, f"no gradient reaches {len(idle)} of {len(learns)} weights that are meant to learn; the first: {idle[0]}"
    return True, f"a gradient reaches each of {len(learns)} weights"


def _beginner(run: Run, recipe: Recipe, seed: int) -> Trainer:
    """Of a copy of the network, without what is there to keep it from learning a batch by heart."""
    plainly = replace(recipe, warmup_epochs=0.0, label_smoothing=0.0)
    trainer = Trainer(begin_run(copy.deepcopy(run.network), plainly, STEPS, 1000), plainly, seed)
    trainer.run.network.train()
    return trainer


def learnt_by_heart(run: Run, recipe: Recipe, batch: Batch, seed: int) -> tuple[bool, str]:
    trainer = _beginner(run, recipe, seed)
    first = last = trainer.step(batch)[0]
    for _ in range(STEPS):
        last = trainer.step(batch)[0]
        if last < LEARNT * first:
            break
    words = f"learning one batch by heart brought the loss from {first:.3g} to {last:.3g}"
    if last < LEARNT * first:
        return True, words
    return (
        False,
        f"{words} in {STEPS} steps; the learning rate may be too low or high, or labels and pictures do not belong together",
    )


def draw(batch: Batch, picture: Path) -> None:
    """The pictures beside one another, fakes framed in red."""
    tiles = []
    for shown, label in zip(batch[0].numpy(), batch[1].tolist(), strict=True):
        colour = (40, 40, 220) if label > 0.5 else (120, 120, 120)
        tiles.append(cv2.copyMakeBorder(cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=colour))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    sheet = np.vstack([np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)])
    write_bytes(picture, cv2.imencode(".png", sheet)[1].tobytes())
