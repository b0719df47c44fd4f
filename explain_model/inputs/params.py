"""Settings and flags shared by the explain commands."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.params import DEVICES, PathFlag, setting
from explain_deepfakes.preprocessing.corpus.folders import CROPS_FLAGS

TEST_FLAGS = {
    "model_path": PathFlag("data/models/best.safetensors", "the tested checkpoint"),
    "tests": PathFlag("results/tests", "output folder of the stage test"),
    **CROPS_FLAGS,
}
SAMPLES_FLAG = PathFlag(None, "crops to explain: a samples_list_….csv (default: the one in the folder of the tests)")


@dataclass(frozen=True)
class ExplainRuntimeParams:
    batch_size: int = setting("crops per batch", low=1)
    threads: int = setting("CPU threads", low=1, auto=available_cpus)
    device: str = setting("device of the network", choices=DEVICES)
