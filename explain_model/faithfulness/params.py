"""Settings of the evaluation of explanations."""

from dataclasses import dataclass

from explain_deepfakes.explain_model.inputs.params import ExplainRuntimeParams
from explain_deepfakes.explain_model.maps.params import METHOD_NAMES
from explain_deepfakes.pipeline.params import setting


@dataclass(frozen=True)
class EvaluateExplanationsParams(ExplainRuntimeParams):
    methods: tuple[str, ...] = setting(f"map methods to evaluate, where the network supports them: {', '.join(METHOD_NAMES)}")
    road_faces: int = setting("faces, evenly spaced among all, for which to compute the slow ROAD metric", low=0)
    bootstrap: int = setting("bootstrap draws for each 95 %% interval", low=0)
    seed: int = setting("random seed", low=0)
