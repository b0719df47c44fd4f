"""Validate a network on the crops of the validation videos, by frame and by video.

If there are only real validation videos, each gets a forged twin. Both are the same in every epoch.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from explain_deepfakes.model_test_train.metrics.aggregation import FrameScore, VerdictRule, video_verdicts
from explain_deepfakes.model_test_train.metrics.calibration import Calibration
from explain_deepfakes.model_test_train.metrics.point_metrics import Scores, best_threshold, compute_metrics
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.scoring import fake_probabilities
from explain_deepfakes.model_test_train.training.augmentations.forgery import Forgery
from explain_deepfakes.model_test_train.training.augmentations.video_codecs import Encoding, encode
from explain_deepfakes.model_test_train.training.data import Sample, Samples, picture_batches
from explain_deepfakes.model_test_train.training.distributed import ProcessGroup
from explain_deepfakes.pipeline.index import FAKE, Video
from explain_deepfakes.preprocessing.crops.stores import read_crop

BATCH_SIZE = 64
CRF_LEVELS = (None, 23, 28)  # H.264 crf at which forged twins and their real videos are encoded; None: not encoded


@dataclass(frozen=True)
class ForgedTwin:
    """How the forged twin of a real video is made and how both are compressed."""

    forgery: Forgery
    crf: int | None


@dataclass(frozen=True)
class ValidationSet:
    samples: Sequence[Sample]
    videos: list[Video]
    twins: dict[str, ForgedTwin] = field(default_factory=dict)  # by name of their real video; empty if the corpus has fakes
    seed: int = 0

    def transform(self, picture: np.ndarray, index: int) -> np.ndarray:
        """A sample's picture as used for validation: a twin's is forged, and both are encoded alike."""
        video, crop = self.samples[index].video, self.samples[index].crop
        original = video.made_from[0] if video.label == FAKE and video.made_from else video.video
        if original not in self.twins:
            return picture
        twin = self.twins[original]
        rng = np.random.default_rng([self.seed, zlib.crc32(original.encode()), crop.frame, crop.track])
        forged = twin.forgery.forge(picture, rng)
        chosen = forged.fake if video.label == FAKE else forged.real
        return chosen if twin.crf is None else encode(chosen, Encoding("libx264", twin.crf))

    def picture(self, index: int) -> np.ndarray:
        return self.transform(read_crop(self.samples[index].crop.path), index)


def add_forged_twins(real: dict[str, list[Sample]], forgeries: dict[str, Forgery], seed: int) -> ValidationSet:
    """Samples of real videos and of a forged twin of each; forgeries and compression levels occur equally often.

    A twin contains only the main person, who is forged.
    """
    twins: dict[str, ForgedTwin] = {}
    videos, samples = [], list[Sample]()
    for number, (name, real_samples) in enumerate(sorted(real.items())):
        level, kind = divmod(number, len(forgeries))
        method, forgery = list(forgeries.items())[kind]
        twins[name] = ForgedTwin(forgery, CRF_LEVELS[level % len(CRF_LEVELS)])
        video, main_track = real_samples[0].video, real_samples[0].crop.track
        fake = replace(video, video=f"{method}/{name}", method=method, label=FAKE, made_from=(name,))
        videos += [video, fake]
        main_crops = (sample.crop for sample in real_samples if sample.crop.track == main_track)
        samples += [*real_samples, *(Sample(replace(crop, video=fake.video), fake) for crop in main_crops)]
    return ValidationSet(Samples(samples), videos, twins, seed)


@dataclass(frozen=True)
class ValidationResult:
    data: ValidationSet
    labels: NDArray[np.int64]  # of the samples
    probabilities: NDArray[np.float64]
    video_labels: NDArray[np.int64]  # of the videos that got a verdict
    video_probabilities: NDArray[np.float64]

    @property
    def samples(self) -> Sequence[Sample]:
        return self.data.samples

    def metrics(self, most_false_alarms: float) -> dict[str, float]:
        """Loss over the frames; AUC and the best threshold over the videos."""
        true_class = np.clip(np.where(self.labels, self.probabilities, 1 - self.probabilities), 1e-7, 1)
        return {
            "val_loss": float(-np.log(true_class).mean()),
            "val_auc": float(compute_metrics(Scores.above(0.5, self.video_labels, self.video_probabilities))["auc"][0]),
            "threshold": best_threshold(self.video_labels, self.video_probabilities, most_false_alarms),
        }

    def calibration(self) -> Calibration:
        return Calibration.fit(self.video_labels, self.video_probabilities)


def validate(network: Network, data: ValidationSet, workers: int, group: ProcessGroup) -> ValidationResult:
    """Score the samples, each process of the group its share; every process gets the complete result."""
    share = replace(data, samples=group.share(data.samples))
    batches = picture_batches(share.samples, network.input, BATCH_SIZE, workers, share.transform)
    probabilities = np.array(group.gather(fake_probabilities(network, batches).tolist()))
    frames = [
        FrameScore(sample.video.video, sample.crop.frame, sample.crop.track, str(sample.crop.path), float(probability))
        for sample, probability in zip(data.samples, probabilities, strict=True)
    ]
    verdicts = video_verdicts(data.videos, frames, VerdictRule("mean", threshold=0.5))
    scored = [(v.video.label, v.raw_probability) for v in verdicts if v.raw_probability is not None]
    video_labels, video_probabilities = np.array(scored, float).reshape(-1, 2).T
    labels = np.array([sample.video.label for sample in data.samples])
    return ValidationResult(data, labels, probabilities, video_labels.astype(int), video_probabilities)
