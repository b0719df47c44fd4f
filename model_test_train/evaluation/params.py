"""Settings of tests."""

from dataclasses import dataclass

from explain_deepfakes.model_test_train.metrics.aggregation import AGGREGATIONS
from explain_deepfakes.model_test_train.metrics.params import CALIBRATION_METHODS
from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.index import SPLITS
from explain_deepfakes.pipeline.params import DEVICES, setting
from explain_deepfakes.preprocessing.video.sampling import EVENLY, FIRST

CLEAN = "clean"
ROBUSTNESS_KINDS = (  # corruptions of crops, encodings of videos, and attacks
    CLEAN,
    "gaussian_noise",
    "salt_and_pepper",
    "blur",
    "jpeg",
    "brightness",
    "contrast",
    "resize",
    "h264",
    "hevc",
    "resolution",
    "frame_rate",
    "messenger",
    "fgsm",
    "pgd",
)


OF_CHECKPOINT = "checkpoint"  # the aggregation that the network's checkpoint names


@dataclass(frozen=True)
class TestParams:
    __test__ = False  # its name looks like a test class to pytest

    dataset: str = setting("a manipulation or several joined by + (with the originals), All-but-METHODS, or All")
    split: str = setting("split of the videos to test on", choices=SPLITS)
    frames_per_video: int = setting("number of evenly spaced frames of each person", low=1)
    sampling: str = setting(
        "frames to score: evenly spaced ones, or the first ones, to compare with tables of papers only", choices=(EVENLY, FIRST)
    )
    batch_size: int = setting("pictures per batch", low=1)
    aggregation: str = setting("how the scores of frames become a verdict", choices=(OF_CHECKPOINT, *AGGREGATIONS))
    calibration: str = setting("calibration of the videos' probabilities, fitted on validation", choices=CALIBRATION_METHODS)
    abstain_error: float = setting(
        "mark verdicts as uncertain so that at most this share of either class is confidently wrong; 0 marks none",
        low=0,
        high=0.5,
    )
    bootstrap: int = setting("bootstrap draws of each 95 %% interval", low=0)
    workers: int = setting("batches that are read and scored in parallel", low=0, auto=available_cpus)
    seed: int = setting("seed of the bootstrap", low=0)
    threads: int = setting("CPU threads of each worker", low=1)
    device: str = setting("device of the network", choices=DEVICES)


@dataclass(frozen=True)
class TransferParams:
    methods: tuple[str, ...] = setting("manipulations for which `dvc repro` trains one network each")
    num_epochs: int = setting("epochs on the crops of one manipulation and of the originals", low=1)
