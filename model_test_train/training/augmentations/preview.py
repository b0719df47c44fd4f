"""A preview of all augmentations: a row for each, with several random variants of the same crop."""

from argparse import Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from explain_deepfakes.model_test_train.networks.input_contract import Image, resize
from explain_deepfakes.model_test_train.training.augmentations.augmentation import KINDS, build_augmentation
from explain_deepfakes.model_test_train.training.augmentations.geometric import GEOMETRIC
from explain_deepfakes.model_test_train.training.augmentations.photometric import PHOTOMETRIC
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.preprocessing.crops.stores import read_picture

SIDE, COLUMNS = 128, 6
PREVIEW_SETTINGS: dict[str, dict[str, float]] = {
    "flip": {},
    "part": {"most": 0.3},
    "rotate": {"degrees": 25},
    "brightness": {"most": 0.5},
    "contrast": {"most": 0.6},
    "hue": {"most": 0.3},
    "grey": {},
    "pca_colour": {"most": 0.8},
    "gamma": {"most": 0.7},
    "white_balance": {"most": 0.2},
    "noise": {"most": 30},
    "dct_noise": {"most": 0.9},
    "blur": {"most": 3},
    "sharpen": {"most": 3.0},
    "jpeg": {"least": 5},
    "downscale": {"least": 0.15},
    "resize": {"least": 0.2},
    "codec": {"best": 35, "worst": 45, "least": 0.5, "twice": 0.5},
    "grid_mask": {"share": 0.3},
    "mixup": {"alpha": 1.0},
    "cutmix": {"alpha": 1.0},
    "self_blend": {"shift": 0.04, "colour": 0.2},
    "rerender": {"warp": 0.02, "resolution": 0.85},
}


def augment(name: str, crop: Image, mixed_with: Image, number: int) -> Image:
    """Apply a single augmentation to the crop; each number gives another random variant."""
    augmentation, key = build_augmentation({name: {"p": 1.0, **PREVIEW_SETTINGS[name]}}), (0, 0, number)
    if name in GEOMETRIC:
        return resize(augmentation.draw_geometric(key)(crop), SIDE, SIDE)
    if name in PHOTOMETRIC:
        return augmentation.apply_photometric(torch.from_numpy(crop).permute(2, 0, 1)[None], key)[0].permute(1, 2, 0).numpy()
    if forge := augmentation.draw_forgery(key):
        return forge(crop).fake
    pair = torch.from_numpy(np.stack([crop, mixed_with]))
    for attempt in range(number, number + 1000, COLUMNS):  # until the pictures are mixed with each other, not with themselves
        batch = pair, torch.tensor([0.0, 1.0]), torch.zeros(2, 16, 16)
        mixed = augmentation.apply_mixing(batch, (0, 0, attempt))[0][0]
        if not torch.equal(mixed, pair[0]):
            return mixed.numpy()
    return crop


def draw_preview(crop: Image, mixed_with: Image, output: Path) -> None:
    figure, rows = plt.subplots(len(KINDS), COLUMNS + 1, figsize=(1.2 * (COLUMNS + 1) + 0.9, 1.22 * len(KINDS)))
    for name, row in zip(KINDS, rows, strict=True):
        pictures = [crop, *(augment(name, crop, mixed_with, number) for number in range(COLUMNS))]
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    rows[0][0].set_title("original crop", fontsize=9)
    figure.tight_layout(pad=0.3)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=90)
    plt.close(figure)


def preview_augmentations(args: Namespace) -> None:
    crops = [crop.path for crop in read_crops(from_root("data/crops")) if crop.video.startswith("Original/") and not crop.track]
    if not crops:
        raise UserError("no crops of real videos in data/crops; run `dvc repro extract_crops` to make those of the demo")
    crop, mixed_with = (resize(read_picture(path), SIDE, SIDE) for path in (args.crop or crops[0], crops[-1]))
    draw_preview(crop, mixed_with, args.output)
    print(args.output)
