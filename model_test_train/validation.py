"""A network and the crops of the validation videos -> how well it judges them, frame by frame and video by video."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_test_train.crop_dataset import Sample, Samples, picture_batches
from model_test_train.figures.calibration import Calibration
from model_test_train.figures.measures import Scores, best_threshold, measure
from model_test_train.judging import fake_probabilities
from model_test_train.networks.network import Network
from model_test_train.team import Team
from model_test_train.verdicts import FrameScore, Rule, judge_videos
from pipeline.index import Video

BATCH = 64


@dataclass(frozen=True)
class Validation:
    samples: Sequence[Sample]
    labels: NDArray[np.int64]  # of the samples
    probabilities: NDArray[np.float64]
    video_labels: NDArray[np.int64]  # of the videos that got a verdict
    video_probabilities: NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Loss over the frames; over the videos AUC, and the threshold that parts them best."""
        true_class = np.clip(np.where(self.labels, self.probabilities, 1 - self.probabilities), 1e-7, 1)
        return {
            "val_loss": float(-np.log(true_class).mean()),
            "val_auc": float(measure(Scores.above(0.5, self.video_labels, self.video_probabilities))["auc"][0]),
            "threshold": best_threshold(self.video_labels, self.video_probabilities),
        }

    def calibration(self) -> Calibration:
        return Calibration.fit(self.video_labels, self.video_probabilities)


def validate(network: Network, samples: Samples, videos: list[Video], workers: int, team: Team) -> Validation:
    """Each of the team judges its share; all of them have the result."""
    batches = picture_batches(team.share(samples), network.input, BATCH, workers)
    probabilities = np.array(team.gather(fake_probabilities(network, batches).tolist()))
    frames = [
        FrameScore(sample.video.video, sample.crop.frame, sample.crop.track, str(sample.crop.path), float(probability))
        for sample, probability in zip(samples, probabilities, strict=True)
    ]
    verdicts = judge_videos(videos, frames, Rule("mean", threshold=0.5))
    judged = [(v.video.label, v.raw_probability) for v in verdicts if v.raw_probability is not None]
    of_videos = np.array(judged, float).reshape(-1, 2)
    labels = np.array([sample.video.label for sample in samples])
    return Validation(samples, labels, probabilities, of_videos[:, 0].astype(int), of_videos[:, 1])
