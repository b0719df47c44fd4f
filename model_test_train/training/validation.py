"""A network and the crops of the validation videos -> how well it judges them, frame by frame and video by video.

Real videos alone will do for validation too: each is then given a twin that is forged of it. Both are the same in every epoch.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from model_test_train.metrics.calibration import Calibration
from model_test_train.metrics.point_metrics import Scores, best_threshold, measure
from model_test_train.metrics.verdicts import FrameScore, Rule, video_verdicts
from model_test_train.networks.network import Network
from model_test_train.networks.scoring import fake_probabilities
from model_test_train.training.augmentations.forgery import Forgery
from model_test_train.training.augmentations.video_codecs import Encoding, encoded
from model_test_train.training.data import Sample, Samples, picture_batches
from model_test_train.training.distributed import ProcessGroup
from pipeline.index import FAKE, Video
from preprocessing.crops.stores import read_crop

BATCH = 64
LEVELS = (None, 23, 28)  # crf of H.264 that forged twins and their real videos are encoded with; None: not at all


@dataclass(frozen=True)
class Twin:
    """How the forged twin of a real video is made."""

    forgery: Forgery
    crf: int | None


@dataclass(frozen=True)
class ValidationSet:
    samples: Sequence[Sample]
    videos: list[Video]
    twins: dict[str, Twin] = field(default_factory=dict)  # by the name of their real video; none, if there are fakes anyway
    seed: int = 0

    def changed(self, picture: np.ndarray, place: int) -> np.ndarray:
        """A sample's crop as it is validated on: a twin's is forged, and both are encoded alike."""
        video, crop = self.samples[place].video, self.samples[place].crop
        original = video.made_from[0] if video.label == FAKE and video.made_from else video.video
        if original not in self.twins:
            return picture
        twin = self.twins[original]
        rng = np.random.default_rng([self.seed, zlib.crc32(original.encode()), crop.frame, crop.track])
        made = twin.forgery.forge(picture, rng)
        chosen = made.fake if video.label == FAKE else made.real
        return chosen if twin.crf is None else encoded(chosen, Encoding("libx264", twin.crf))

    def picture(self, place: int) -> np.ndarray:
        return self.changed(read_crop(self.samples[place].crop.path), place)


def with_twins(real: dict[str, list[Sample]], forgeries: dict[str, Forgery], seed: int) -> ValidationSet:
    """The samples of real videos, and of a twin for each: by every kind of forgery as often, and at every level of compression.

    Only the main person of a twin is forged; nobody else is in it.
    """
    twins: dict[str, Twin] = {}
    videos, samples = [], list[Sample]()
    for number, (name, of_video) in enumerate(sorted(real.items())):
        turn, kind = divmod(number, len(forgeries))
        method, forgery = list(forgeries.items())[kind]
        twins[name] = Twin(forgery, LEVELS[turn % len(LEVELS)])
        video, main = of_video[0].video, of_video[0].crop.track
        fake = replace(video, video=f"{method}/{name}", method=method, label=FAKE, made_from=(name,))
        videos += [video, fake]
        of_main = (sample.crop for sample in of_video if sample.crop.track == main)
        samples += [*of_video, *(Sample(replace(crop, video=fake.video), fake) for crop in of_main)]
    return ValidationSet(Samples(samples), videos, twins, seed)


@dataclass(frozen=True)
class Validation:
    data: ValidationSet
    labels: NDArray[np.int64]  # of the samples
    probabilities: NDArray[np.float64]
    video_labels: NDArray[np.int64]  # of the videos that got a verdict
    video_probabilities: NDArray[np.float64]

    @property
    def samples(self) -> Sequence[Sample]:
        return self.data.samples

    def figures(self, most_false_alarms: float) -> dict[str, float]:
        """Loss over the frames; over the videos AUC, and the threshold that parts them best."""
        true_class = np.clip(np.where(self.labels, self.probabilities, 1 - self.probabilities), 1e-7, 1)
        return {
            "val_loss": float(-np.log(true_class).mean()),
            "val_auc": float(measure(Scores.above(0.5, self.video_labels, self.video_probabilities))["auc"][0]),
            "threshold": best_threshold(self.video_labels, self.video_probabilities, most_false_alarms),
        }

    def calibration(self) -> Calibration:
        return Calibration.fit(self.video_labels, self.video_probabilities)


def validate(network: Network, data: ValidationSet, workers: int, team: ProcessGroup) -> Validation:
    """Each of the team judges its share; all of them have the result."""
    share = replace(data, samples=team.share(data.samples))
    batches = picture_batches(share.samples, network.input, BATCH, workers, share.changed)
    probabilities = np.array(team.gather(fake_probabilities(network, batches).tolist()))
    frames = [
        FrameScore(sample.video.video, sample.crop.frame, sample.crop.track, str(sample.crop.path), float(probability))
        for sample, probability in zip(data.samples, probabilities, strict=True)
    ]
    verdicts = video_verdicts(data.videos, frames, Rule("mean", threshold=0.5))
    judged = [(v.video.label, v.raw_probability) for v in verdicts if v.raw_probability is not None]
    of_videos = np.array(judged, float).reshape(-1, 2)
    labels = np.array([sample.video.label for sample in data.samples])
    return Validation(data, labels, probabilities, of_videos[:, 0].astype(int), of_videos[:, 1])
