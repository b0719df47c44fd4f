"""Settings of explanations."""

from dataclasses import dataclass

from explain_deepfakes.explain_model.inputs.params import ExplainRuntimeParams
from explain_deepfakes.explain_model.maps.params import METHOD_NAMES
from explain_deepfakes.pipeline.params import setting

UNSCALED_MAPS = "raw_maps"  # folder


@dataclass(frozen=True)
class ExplainParams(ExplainRuntimeParams):
    method: str = setting("map method", choices=METHOD_NAMES)
    opacity: float = setting("opacity of the heatmap where it is hottest", low=0, high=1)


@dataclass(frozen=True)
class ExplainVideosParams(ExplainRuntimeParams):
    method: str = setting("map method", choices=METHOD_NAMES)
    videos_per_method: int = setting("videos per manipulation, and originals, if --videos is not used", low=1)
    opacity: float = setting("opacity of the heatmap where it is hottest", low=0, high=1)


@dataclass(frozen=True)
class ReportParams:
    samples_per_method: int = setting("faces per method in the gallery", low=1)
