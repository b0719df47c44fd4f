"""Metrics and plots of fake probabilities from any source."""

from argparse import Namespace

from explain_deepfakes.model_test_train.evaluation.plots import write_plots
from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.model_test_train.evaluation.testing import (
    ProtocolHeader,
    VideoMetrics,
    estimate_metrics_by_method,
    estimate_metrics_of,
    get_estimate,
)
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_csv, write_json

COLUMNS = ("name", "method", "label", "group", "probability", "called_fake")
PRINTED_METRICS = ("accuracy", "balanced_accuracy", "auc", "ap", "f1", "eer", "log_loss", "calibration_error")


class ScoresProtocol(ProtocolHeader):
    """The conditions of metrics that were computed from a table of scores."""

    scores: str | None  # hash of the file


def evaluate_scores(args: Namespace) -> None:
    table = read_scores(args.scores, args.threshold)
    metrics: VideoMetrics = {
        "video": estimate_metrics_of(table.scores, args.bootstrap, args.seed),
        "video_by_method": estimate_metrics_by_method(table.scores, args.bootstrap, args.seed),
    }
    unit = "groups of identities" if table.has_people else "videos, as if no two shared a person"
    protocol: ScoresProtocol = {
        "model": args.scores.stem,
        "warning": None,
        "split": "as given",
        "aggregation": "as given",
        "threshold": args.threshold,
        "scores": content_hash(args.scores) if args.scores.is_file() else None,
        "intervals": f"95 %, bootstrap over {unit}, {args.bootstrap} draws",
    }
    write_json(args.output_path / "metrics.json", metrics)
    write_json(args.output_path / "protocol.json", protocol)
    write_csv(args.output_path / "videos.csv", COLUMNS, map(vars, table.scores))
    write_plots(args.output_path, table.scores, metrics, protocol)
    print(f"{len(table.scores)} videos, {metrics['video']['fakes']} of them fake; intervals: {protocol['intervals']}")
    for name in PRINTED_METRICS:
        print(f"  {name:<20}{format_estimate(get_estimate(metrics['video'], name))}")
    print(f"tables and plots: {args.output_path}")
