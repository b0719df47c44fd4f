"""Fit and test an ensemble of several networks: weights, attention or stacking, fitted on validation videos.

    python model_test_train/ensemble.py --members meso4,xception            # of data/networks, or checkpoints by their paths
    python model_test_train/ensemble.py --members A,B --fusion attention
    python model_test_train/ensemble.py --members A,B --optimize-weights    # only fit, on existing predictions

Each member scores the validation and test videos once. The ensemble is fitted on validation only, and then tested. Writes
results/networks/<member>, data/ensembles/<fusion> and results/ensembles/<fusion>.
"""

from explain_deepfakes.model_test_train.ensembles.params import EnsembleParams
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import SwitchFlag, read_command_line
from explain_deepfakes.preprocessing.corpus.folders import CROPS_FLAGS


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "ensemble",
        EnsembleParams,
        optimize_weights=SwitchFlag("only fit the ensemble, on existing predictions of its members"),
        **CROPS_FLAGS,
    )
    from explain_deepfakes.model_test_train.ensembles.ensemble import make_ensemble

    make_ensemble(params, paths)


if __name__ == "__main__":
    run(main)
