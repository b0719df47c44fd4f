"""What the commands that explain have in common: the checkpoint that was tested, what its test left, and how they run."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from explain_model.inputs.samples import ExplainedSample, read_json, read_samples
from model_test_train.evaluation import testing
from model_test_train.evaluation.testing import rule_of
from model_test_train.metrics.verdicts import AGGREGATIONS, Rule
from model_test_train.networks.checkpoint import Checkpoint, load_checkpoint
from model_test_train.networks.network import Network
from pipeline.errors import UserError
from pipeline.index import Video
from pipeline.params import DEVICES, PathFlag, load_params, setting
from pipeline.reproducible import choose_device, seed_everything
from preprocessing.corpus.folders import CROPS_FLAGS
from preprocessing.crops.crops import Crop

TESTED = {
    "model_path": PathFlag("data/models/best.safetensors", "the checkpoint that was tested"),
    "tests": PathFlag("results/tests", "what the stage test left"),
    **CROPS_FLAGS,
}
SAMPLES = PathFlag(None, "which crops to explain: a samples_list_….csv of the tests")


@dataclass(frozen=True)
class Running:
    batch_size: int = setting("crops explained at once", low=1)
    threads: int = setting("of the processor", low=1)
    device: str = setting("where the network runs", choices=DEVICES)


def open_network(model_path: Path, params: Running, seed: int = 0) -> tuple[Network, Checkpoint]:
    seed_everything(seed, params.threads)
    return load_checkpoint(model_path, choose_device(params.device))


def samples_tested(paths: Namespace, videos: list[Video], crops: list[Crop]) -> list[ExplainedSample]:
    """Those of the samples table that is named, or that the stage test left."""
    return read_samples(paths.samples or samples_path(paths.tests), paths.tests, videos, crops)


def rule_tested(checkpoint: Checkpoint, tests: Path) -> Rule:
    """How the test made verdicts of the scores of frames, by what its protocol says."""
    protocol = read_json(tests / "protocol.json")
    names = {one.words: name for name, one in AGGREGATIONS.items()}
    if protocol["aggregation"] not in names:
        raise UserError(
            f"{tests / 'protocol.json'}: the aggregation '{protocol['aggregation']}' is not known; run the test again"
        )
    tested = {name: protocol[name] for name in ("calibration", "abstain_error")}
    params = load_params("test", testing.Params, {"aggregation": names[protocol["aggregation"]], **tested})
    return rule_of(checkpoint, params)


def samples_path(tests: Path) -> Path:
    found = samples_lists(tests)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{tests} should hold one samples_list_….csv and holds: {names}; name one with --samples")
    return found[0]


def samples_lists(tests: Path) -> list[Path]:
    return sorted(tests.glob("samples_list_*.csv"))
