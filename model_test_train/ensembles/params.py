"""Settings of ensembles."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.params import setting

FUSION_NAMES = ("average", "confidence", "attention", "stacking")  # of fusion.FUSION_METHODS


@dataclass(frozen=True)
class EnsembleParams:
    members: str = setting("names of networks in data/networks, or paths of checkpoints, separated by commas")
    fusion: str = setting("how the members' scores are fused", choices=FUSION_NAMES, flags=("--way",))
    fusions: tuple[str, ...] = setting("fusion methods that `dvc repro` fits and tests")
    trials: int = setting("trials of the search for weights", low=1)
    folds: int = setting("folds of the validation videos for metrics on held-out videos; no two folds share a person", low=2)
    agreement: float = setting("share of the members' votes below which a verdict is uncertain", low=0, high=1)
    seed: int = setting("seed of the search and the folds", low=0)
