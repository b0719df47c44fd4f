"""Testing: a network and crops -> a score a frame; verdicts -> figures by frame, by video and by method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_test_train.crop_dataset import Sample, picture_batches
from model_test_train.figures import figures, identity_groups
from model_test_train.judging import fake_probabilities
from model_test_train.networks.network import Network
from model_test_train.verdicts import AGGREGATIONS, NO_VERDICT, FrameScore, Verdict
from pipeline.index import SPLITS
from pipeline.params import setting
from pipeline.progress import track
from pipeline.project import relative
from pipeline.reproducible import DEVICES


@dataclass(frozen=True)
class Params:
    dataset: str = setting("one manipulation (with the originals), or All")
    split: str = setting("which videos are judged", choices=SPLITS)
    frames_per_video: int = setting("equidistant frames of each person", low=1)
    batch_size: int = setting("pictures the network sees at once", low=1)
    aggregation: str = setting("how a person's frames become one probability", choices=tuple(AGGREGATIONS))
    bootstrap: int = setting("draws behind each 95 %% interval", low=0)
    workers: int = setting("processes that read crops", low=0)
    seed: int = setting("of the bootstrap", low=0)
    threads: int = setting("of the processor, for the network", low=1)
    device: str = setting("where the network runs", choices=DEVICES)


def score_frames(network: Network, samples: list[Sample], params: Params) -> list[FrameScore]:
    batches = picture_batches(samples, network.input, params.batch_size, params.workers)
    shown = track(batches, len(batches), "judging", "batches")
    probabilities = fake_probabilities(network, network.input, shown)
    return [
        FrameScore(s.video.video, s.crop.frame, s.crop.track, relative(s.crop.path), float(probability))
        for s, probability in zip(samples, probabilities, strict=True)
    ]


def measure(verdicts: list[Verdict], threshold: float, params: Params) -> dict[str, Any]:
    """Figures over the frames and over the videos, over all methods and for each against the originals."""
    judged = [verdict for verdict in verdicts if verdict.verdict != NO_VERDICT]
    methods = sorted({verdict.video.method for verdict in judged if verdict.video.label})
    by_method = {name: [v for v in judged if v.video.method == name or not v.video.label] for name in methods}
    return {
        "frame": _figures(judged, threshold, params, of_frames=True),
        "video": _figures(judged, threshold, params, of_frames=False),
        "video_by_method": {name: _figures(chosen, threshold, params, False) for name, chosen in by_method.items()},
    }


def _figures(verdicts: Sequence[Verdict], threshold: float, params: Params, of_frames: bool) -> dict[str, object]:
    groups = identity_groups([verdict.video for verdict in verdicts])
    rows = [
        (verdict.video.label, probability, groups[verdict.video.video])
        for verdict in verdicts
        for probability in ([frame.fake_probability for frame in verdict.frames] if of_frames else [verdict.fake_probability])
    ]
    labels = np.array([label for label, _, _ in rows], int)
    probabilities = np.array([probability for _, probability, _ in rows], float)
    group = np.array([group for _, _, group in rows], int)
    return figures(labels, probabilities, group, threshold, params.bootstrap, params.seed)
