"""The rule by which a network's scores become verdicts."""

from explain_deepfakes.model_test_train.evaluation.params import OF_CHECKPOINT, TestParams
from explain_deepfakes.model_test_train.metrics.aggregation import VerdictRule
from explain_deepfakes.model_test_train.metrics.calibration import Calibration
from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint


def make_verdict_rule(checkpoint: Checkpoint, params: TestParams) -> VerdictRule:
    """The rule by which this network's scores become verdicts."""
    aggregation = checkpoint.aggregation if params.aggregation == OF_CHECKPOINT else params.aggregation
    if checkpoint.calibration is None:
        return VerdictRule(aggregation, checkpoint.threshold)
    fitted = Calibration.from_dict(checkpoint.calibration)
    band = None
    if params.abstain_error:  # the band includes the threshold; otherwise the two could contradict each other
        edges = (*fitted.uncertain_band(params.abstain_error), checkpoint.threshold)
        band = min(edges), max(edges)
    return VerdictRule(aggregation, checkpoint.threshold, fitted.calibrator(params.calibration), band)
