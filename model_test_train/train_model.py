"""Stage train: train a network on crops of the training videos; writes a checkpoint and the metrics of every epoch.

Reads the index and data/crops, writes data/models. An interrupted run resumes from its last saved state. With several GPUs (or
`--devices`), one process per GPU trains on its share of every batch.
"""

from explain_deepfakes.model_test_train.training.params import TrainParams
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import PathFlag, SwitchFlag, read_command_line
from explain_deepfakes.preprocessing.corpus.folders import CROPS_FLAGS


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "train",
        TrainParams,
        **CROPS_FLAGS,
        resume=PathFlag(None, "saved state of an unfinished run to resume from (not needed to resume the same run)"),
        sanity=SwitchFlag("only run quick checks of data, gradients and overfitting of one batch"),
        output_path=PathFlag("data/models", "output folder of the checkpoint"),
    )
    from explain_deepfakes.model_test_train.training.stage import train_model_on_devices

    train_model_on_devices(params, paths)


if __name__ == "__main__":
    run(main)
