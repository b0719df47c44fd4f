"""Test robustness: how metrics change under corruptions, re-encoding and adversarial attacks.

    python model_test_train/evaluate_robustness.py                      # everything, then table and curves
    python model_test_train/evaluate_robustness.py --kind jpeg,messenger,pgd

On crops: noise, blur, JPEG, brightness, contrast and resizing, each in five severities. On videos, before face detection:
encoders, sizes, frame rates and the encoding chains of messengers; videos in which no face is found any more are counted
separately. On the network's input: FGSM and PGD. Each kind has its own files in results/robustness; `--table` draws all.
"""

from explain_deepfakes.model_test_train.evaluation.params import ROBUSTNESS_KINDS, TestParams
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, SwitchFlag, TextFlag, read_command_line
from explain_deepfakes.preprocessing.corpus.folders import CROPS_FLAGS


def main() -> None:
    params, args = read_command_line(
        __doc__,
        "test",
        TestParams,
        kind=TextFlag(f"kinds to test, separated by commas (default: all): {', '.join(ROBUSTNESS_KINDS)}"),
        table=SwitchFlag("only make the table and curves from existing results"),
        model_path=PathFlag("data/models/best.safetensors", "the checkpoint to test"),
        **CROPS_FLAGS,
        work_path=PathFlag("data/robustness", "temporary folder for encoded videos, their boxes and crops"),
        output_path=PathFlag("results/robustness", "folder for the results of each kind"),
        table_path=PathFlag("results/robustness_table", "folder for the table and curves"),
    )
    from explain_deepfakes.model_test_train.evaluation.robustness import evaluate_robustness

    evaluate_robustness(params, args)


if __name__ == "__main__":
    run(main)
