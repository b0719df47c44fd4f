"""Stage evaluate_explanations: correctly classified fakes -> metrics of how far the heatmaps can be trusted.

The maps of each method are compared with baseline maps that are independent of the network. Writes
results/explanation_evaluation.
"""

from explain_deepfakes.explain_model.faithfulness.params import EvaluateExplanationsParams
from explain_deepfakes.explain_model.inputs.params import SAMPLES_FLAG, TEST_FLAGS
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, read_command_line


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "evaluate_explanations",
        EvaluateExplanationsParams,
        **TEST_FLAGS,
        samples=SAMPLES_FLAG,
        output_path=PathFlag("results/explanation_evaluation", "output folder of metrics and plots"),
    )
    from explain_deepfakes.explain_model.faithfulness.evaluation import evaluate_explanations

    evaluate_explanations(params, paths)


if __name__ == "__main__":
    run(main)
