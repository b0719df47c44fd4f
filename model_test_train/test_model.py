"""Stage test: score the crops of the test videos with a checkpoint; write verdicts, metrics and plots to results/tests.

Explanations and the report need only these results, and never run the test again.
"""

from explain_deepfakes.model_test_train.evaluation.params import TestParams
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, read_command_line
from explain_deepfakes.preprocessing.corpus.folders import CROPS_FLAGS


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "test",
        TestParams,
        model_path=PathFlag("data/models/best.safetensors", "the checkpoint to test"),
        config=PathFlag(None, "a network's YAML; an error if the checkpoint was trained with another"),
        **CROPS_FLAGS,
        output_path=PathFlag("results/tests", "folder for the results"),
    )
    from explain_deepfakes.model_test_train.evaluation.stage import test_model

    test_model(params, paths)


if __name__ == "__main__":
    run(main)
