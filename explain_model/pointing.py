"""The pointing game: does the heat's peak lie in the region that was manipulated? Beside it, what chance would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explain_model.heatmaps import peak
from explain_model.samples import ExplainedSample
from model_test_train.figures.intervals import NOTHING, Figure, drawn_weights, identity_groups, with_interval
from model_test_train.inputs import resized
from pipeline.index import Video

MASK_SIDE = 56  # masks of crops of all sizes are compared on a square of this side
DRAWS = 1000


@dataclass(frozen=True)
class Pointing:
    """A sample's peak and the truth about it."""

    video: Video
    outcome: str
    hit: bool
    mask_share: float  # of the crop: the chance of a random place
    mask: np.ndarray | None  # (MASK_SIDE, MASK_SIDE) in [0, 1]

    @classmethod
    def of(cls, sample: ExplainedSample, heat: np.ndarray, mask: np.ndarray | None) -> "Pointing":
        if mask is None:
            return cls(sample.video, sample.outcome, False, 0.0, None)
        x, y = peak(heat)
        small = resized(mask.astype(np.float32), MASK_SIDE, MASK_SIDE)
        return cls(sample.video, sample.outcome, bool(mask[y, x]), float(mask.mean()), small)


def measure_pointing(pointings: Sequence[Pointing], seed: int) -> dict[str, Any]:
    """Over the fakes that were judged right and whose truth is known: the share of hits, by method too, and chance's."""
    known = [pointing for pointing in pointings if pointing.outcome == "TP" and pointing.mask is not None]
    methods = sorted({pointing.video.method for pointing in known})
    hits = np.array([pointing.hit for pointing in known], float)
    table: dict[str, Any] = {"count": len(known)}
    if not known:
        return table
    table["relevancy"] = _interval(hits, known, seed)
    table["random_place"] = round(float(np.mean([pointing.mask_share for pointing in known])), 6)
    table["mean_mask"] = round(float(np.mean(mean_mask_hits(known))), 6)
    table["by_method"] = {
        name: {
            "count": sum(pointing.video.method == name for pointing in known),
            "relevancy": round(float(np.mean([p.hit for p in known if p.video.method == name])), 6),
            "random_place": round(float(np.mean([p.mask_share for p in known if p.video.method == name])), 6),
        }
        for name in methods
    }
    return table


def mean_mask_hits(known: Sequence[Pointing]) -> list[bool]:
    """A map that has never seen the picture: the mean mask of the other people's fakes. What it hits is no explanation."""
    groups = identity_groups([pointing.video for pointing in known])
    hits = []
    for pointing in known:
        group = groups[pointing.video.video]
        others = [o.mask for o in known if o.mask is not None and groups[o.video.video] != group]
        prior = np.mean(others, axis=0) if others else np.zeros((MASK_SIDE, MASK_SIDE))
        hits.append(pointing.mask is not None and bool(pointing.mask.flat[int(prior.argmax())] > 0.5))
    return hits


def _interval(hits: np.ndarray, known: Sequence[Pointing], seed: int) -> Figure:
    groups = identity_groups([pointing.video for pointing in known])
    drawn = drawn_weights(np.array([groups[pointing.video.video] for pointing in known]), DRAWS, seed)
    return with_interval(float(hits.mean()), np.concatenate([NOTHING, *(weights @ hits / weights.sum(1) for weights in drawn)]))
