"""Inputs shared by the explain commands: the tested checkpoint, the results of its test, and runtime settings."""

from pathlib import Path

from explain_deepfakes.explain_model.inputs.params import ExplainRuntimeParams
from explain_deepfakes.explain_model.inputs.samples import ExplainedSample, read_json, read_samples
from explain_deepfakes.model_test_train.evaluation.checkpoint_rule import make_verdict_rule
from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.model_test_train.metrics.aggregation import AGGREGATIONS, VerdictRule
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.reproducible import choose_device, seed_everything
from explain_deepfakes.preprocessing.crops.crops import Crop


def load_tested_network(model_path: Path, params: ExplainRuntimeParams, seed: int = 0) -> tuple[Network, Checkpoint]:
    seed_everything(seed, params.threads)
    return load_checkpoint(model_path, choose_device(params.device))


def read_tested_samples(
    samples_list: Path | None, tests: Path, videos: list[Video], crops: list[Crop]
) -> list[ExplainedSample]:
    """The samples of a table; by default of the one that the stage test wrote."""
    return read_samples(samples_list or find_samples_list(tests), tests, videos, crops)


def read_verdict_rule(checkpoint: Checkpoint, tests: Path) -> VerdictRule:
    """The rule by which the test derived verdicts from the scores of frames, according to its protocol."""
    protocol = read_json(tests / "protocol.json")
    names = {aggregation.description: name for name, aggregation in AGGREGATIONS.items()}
    if protocol["aggregation"] not in names:
        raise UserError(
            f"{tests / 'protocol.json'}: the aggregation '{protocol['aggregation']}' is not known; run the test again"
        )
    overrides = {name: protocol[name] for name in ("calibration", "abstain_error")}
    params = load_params("test", TestParams, {"aggregation": names[protocol["aggregation"]], **overrides})
    return make_verdict_rule(checkpoint, params)


def find_samples_list(tests: Path) -> Path:
    paths = list_samples_lists(tests)
    if len(paths) != 1:
        names = ", ".join(path.name for path in paths) or "none"
        raise UserError(f"{tests} must contain exactly one samples_list_….csv; there are: {names}. Choose one with --samples")
    return paths[0]


def list_samples_lists(tests: Path) -> list[Path]:
    return sorted(tests.glob("samples_list_*.csv"))
