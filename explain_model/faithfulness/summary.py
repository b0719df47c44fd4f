"""Summary of an evaluation of heatmaps: metrics per map and face -> means with confidence intervals, as in metrics.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from explain_deepfakes.explain_model.faithfulness.localisation import LOCALISATION_METRICS
from explain_deepfakes.explain_model.faithfulness.stability import STABILITY_METRICS
from explain_deepfakes.explain_model.inputs.samples import ExplainedSample
from explain_deepfakes.model_test_train.metrics.intervals import (
    NO_DRAWS,
    Estimate,
    bootstrap_weights,
    identity_groups,
    make_estimate,
)

REMOVAL_METRICS = ("deletion_blurred", "insertion_blurred", "deletion_grained", "insertion_grained", "road")
CONTRAST_METRICS = ("contrast", "deletion_against")
MAP_METRICS = (*LOCALISATION_METRICS, *REMOVAL_METRICS, *CONTRAST_METRICS, *STABILITY_METRICS)
RANDOMISATION_METRICS = ("peak", "likeness")

MapEstimates = dict[str, dict[str, Estimate]]  # map -> metric -> estimate


@dataclass(frozen=True)
class MapMetrics:
    """The metrics of one map of one face; those that could not be computed are missing."""

    video: str
    manipulation: str
    map: str  # method of the map; in the randomisation test, the layer that was shuffled last
    metrics: dict[str, float]

    def as_row(self) -> dict[str, str | float]:
        """A row of faces.csv."""
        return {"video": self.video, "method": self.manipulation, "map": self.map, **self.metrics}


class ManipulationSummary(TypedDict):
    faces: int
    maps: MapEstimates


class EvaluationSummary(TypedDict):
    """The content of metrics.json."""

    method: str
    faces: int
    faces_with_mask: int
    maps: MapEstimates
    by_manipulation: dict[str, ManipulationSummary]
    shuffled: MapEstimates


def summarise(
    results: Sequence[MapMetrics],
    randomisation_results: Sequence[MapMetrics],
    samples: Sequence[ExplainedSample],
    method: str,
    draws: int,
    seed: int,
) -> EvaluationSummary:
    """Average over all faces and over those of each manipulation; intervals come from resampling groups of identities."""
    groups = identity_groups([sample.video for sample in samples])
    manipulations = sorted({sample.video.method for sample in samples})
    return {
        "method": method,
        "faces": len(samples),
        "faces_with_mask": sum(sample.crop.mask is not None for sample in samples),
        "maps": estimate_means(results, MAP_METRICS, groups, draws, seed),
        "by_manipulation": {
            name: {
                "faces": sum(sample.video.method == name for sample in samples),
                "maps": estimate_means(
                    [result for result in results if result.manipulation == name], LOCALISATION_METRICS, groups, draws, seed
                ),
            }
            for name in manipulations
        },
        "shuffled": estimate_means(randomisation_results, RANDOMISATION_METRICS, groups, draws, seed),
    }


def estimate_means(
    results: Sequence[MapMetrics], metrics: Sequence[str], groups: dict[str, int], draws: int, seed: int
) -> MapEstimates:
    """For each map, in the order of the results: the mean of each metric over the faces that have it."""
    table: MapEstimates = {}
    for name in dict.fromkeys(result.map for result in results):
        table[name] = {}
        for metric in metrics:
            known = [r for r in results if r.map == name and not np.isnan(r.metrics.get(metric, np.nan))]
            if known:
                values = np.array([result.metrics[metric] for result in known], float)
                group_numbers = np.array([groups[result.video] for result in known])
                table[name][metric] = estimate_mean(values, group_numbers, draws, seed)
    return table


def estimate_mean(values: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> Estimate:
    means = [weights @ values / weights.sum(1) for weights in bootstrap_weights(groups, draws, seed)]
    return make_estimate(float(values.mean()), np.concatenate([NO_DRAWS, *means]))
