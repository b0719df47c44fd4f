"""A project of random face crops without videos: the input of train_model.py, created in a moment."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import yaml

from explain_deepfakes.model_test_train.networks.network import read_description
from explain_deepfakes.pipeline.index import Video, write_index
from explain_deepfakes.pipeline.ledger import Ledger
from explain_deepfakes.pipeline.project import CODE

SIDE = 40
SPLITS = ("training_set", "validation_set")


def project_of_crops(
    folder: Path, people: int, frames: int, training: Mapping[str, object], train: Mapping[str, object], links: int = 1
) -> Path:
    """Create `people` people per split, each with an original and a fake whose left half is lighter.

    The training set is repeated `links` times by hard links to the same pictures.
    """
    data, videos = folder / "data", list[Video]()
    ledger = Ledger(data / "crops/ledger.jsonl")
    rng = np.random.default_rng(0)
    for split in SPLITS:
        for number in range(people * (links if split == "training_set" else 1)):
            for video in _pair(split, number):
                videos.append(video)
                crop_folder, masks = data / "crops" / split / video.video, data / "masks" / split / video.video
                source = data / "crops" / split / _pair(split, number % people)[video.label].video
                if number < people:
                    _draw(rng, crop_folder, masks if video.label else None, frames)
                else:
                    shutil.copytree(source, crop_folder, copy_function=os.link)
                    if video.label:
                        shutil.copytree(str(source).replace("crops", "masks"), masks, copy_function=os.link)
                outputs = [
                    os.path.relpath(output_folder, data / "crops") for output_folder in (crop_folder, masks)[: 1 + video.label]
                ]
                crops = [[f"{frame}_0.png", frame, 0, 0, 0, SIDE, SIDE] for frame in range(frames)]
                ledger.entries[video.video] = {"name": video.video, "key": "key", "outputs": outputs, "crops": crops}
    ledger.compact(ledger.entries)
    write_index(data / "index/videos.csv", videos)
    (folder / "dvc.yaml").touch()
    _write_settings(folder, training, train)
    return folder


def _pair(split: str, number: int) -> tuple[Video, Video]:
    person = f"{split[0]}{number:05}"
    common = (split, (person,), "v.mp4", "", "hash", "DEMO")
    original = Video(f"Original/{person}", "Original", 0, *common)
    return original, Video(f"FaceSwap/{person}", "FaceSwap", 1, *common, made_from=(original.video,))


def _draw(rng: np.random.Generator, crop_folder: Path, masks: Path | None, frames: int) -> None:
    crop_folder.mkdir(parents=True)
    changed = np.repeat([[255] * (SIDE // 2) + [0] * (SIDE // 2)], SIDE, 0).astype(np.uint8)
    for frame in range(frames):
        picture = rng.integers(0, 150, (SIDE, SIDE, 3))
        if masks:
            picture[:, : SIDE // 2] += 60
            masks.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(masks / f"{frame}_0.png"), changed)
        cv2.imwrite(str(crop_folder / f"{frame}_0.png"), picture.astype(np.uint8))


def _write_settings(folder: Path, training: Mapping[str, object], train: Mapping[str, object]) -> None:
    description = read_description(CODE / "model_test_train/configs/patch_transformer.yaml")
    description["input"]["size"] = 32
    description["training"] |= {"frames_per_video": 100, "batch_size": 8, **training}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(description))
    params = yaml.safe_load((CODE / "params.yaml").read_text())
    params["train"] |= {"config": "tiny.yaml", "workers": 0, "threads": 1, "device": "cpu", "tensorboard": False, **train}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
