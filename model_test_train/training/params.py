"""Settings of training."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.cpus import available_cpus, loading_workers
from explain_deepfakes.pipeline.params import DEVICES, setting

PRECISIONS = ("float32", "bfloat16", "float16")  # names of types of torch


@dataclass(frozen=True)
class TrainParams:
    config: str = setting("the network's YAML")
    dataset: str = setting(
        "what to train on: All, a manipulation method, several joined by +, or All-but-METHODS to leave some out"
    )
    num_epochs: int = setting("number of epochs", low=1)
    patience: int = setting("epochs without a better validation loss after which training stops", low=1)
    max_videos: int = setting("largest number of training videos, balanced over labels and methods; -1: all", low=-1)
    workers: int = setting("processes that read crops", low=0, auto=loading_workers)
    seed: int = setting("seed of weights, order and augmentation", low=0)
    threads: int = setting("CPU threads of each training process", low=1, auto=available_cpus)
    device: str = setting("device to train on", choices=DEVICES)
    devices: int = setting("training processes; 0: one per GPU", low=0)
    precision: str = setting("numeric precision of training", choices=PRECISIONS)
    compile: bool = setting("compile the network with torch.compile, which needs a C++ compiler")
    save_seconds: float = setting("seconds between two saved states of an unfinished run", low=0)
    tensorboard: bool = setting("write events for TensorBoard to the run's folder")
