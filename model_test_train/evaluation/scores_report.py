"""Metrics and plots of fake probabilities from any source."""

from argparse import Namespace

from explain_deepfakes.model_test_train.evaluation.plots import write_plots
from explain_deepfakes.model_test_train.evaluation.score_matrix import (
    FUSED,
    ScoreMatrix,
    compare_detectors,
    fuse_for_unseen,
    read_matrix,
)
from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.model_test_train.evaluation.testing import (
    ProtocolHeader,
    VideoMetrics,
    estimate_metrics_by_method,
    estimate_metrics_of,
    get_estimate,
)
from explain_deepfakes.model_test_train.metrics.comparison import MetricDifference
from explain_deepfakes.model_test_train.metrics.intervals import Estimate, format_estimate
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_csv, write_json

FUSED_COLUMNS = ("video", "label", "method", "fake_probability")
COMPARISON_COLUMNS = ("a", "b", "auc_a", "auc_b", "low", "high", "p", "corrected_p")  # of the difference b - a
COLUMNS = ("name", "method", "label", "group", "probability", "called_fake")
PRINTED_METRICS = ("accuracy", "balanced_accuracy", "auc", "ap", "f1", "eer", "log_loss", "calibration_error")


class ScoresProtocol(ProtocolHeader):
    """The conditions of metrics that were computed from a table of scores."""

    scores: str | None  # hash of the file


def evaluate_scores(args: Namespace) -> None:
    matrix = None if args.scores.is_dir() else read_matrix(args.scores, args.by)
    if matrix:
        evaluate_matrix(matrix, args)
    else:
        evaluate_table(args)


def evaluate_matrix(matrix: ScoreMatrix, args: Namespace) -> None:
    """Metrics of each detector, over all videos and by group, their comparison, and with --fuse those of their fusion."""
    if args.fuse:
        fused = fuse_for_unseen(matrix, args.seed)
        rows = zip(matrix.videos, matrix.labels, matrix.methods, fused, strict=True)
        write_csv(args.output_path / "fused.csv", FUSED_COLUMNS, (dict(zip(FUSED_COLUMNS, row, strict=True)) for row in rows))
        matrix = matrix.with_detector(FUSED, fused)
    metrics: dict[str, VideoMetrics] = {}
    for number, detector in enumerate(matrix.detectors):
        scores = matrix.scores_of(number, args.threshold)
        metrics[detector] = {
            "video": estimate_metrics_of(scores, args.bootstrap, args.seed),
            "video_by_method": estimate_metrics_by_method(scores, args.bootstrap, args.seed),
        }
    differences = compare_detectors(matrix)
    write_json(args.output_path / "metrics.json", metrics)
    write_csv(args.output_path / "comparison.csv", COMPARISON_COLUMNS, (_comparison_row(*each) for each in differences))
    print(f"{len(matrix.videos)} videos, {int(matrix.labels.sum())} of them fake; AUC (95 %) by detector:")
    width = max(map(len, matrix.detectors))
    for detector, table in metrics.items():
        by_method = ", ".join(
            f"{method} {format_value(get_estimate(each, 'auc'))}" for method, each in table["video_by_method"].items()
        )
        auc = format_estimate(get_estimate(table["video"], "auc"))
        print(f"  {detector:{width}}  {auc}, {table['video']['count']} videos; {by_method}")
    print(f"tables: {args.output_path}")


def format_value(estimate: Estimate) -> str:
    return "–" if estimate["value"] is None else f"{estimate['value']:.3f}"


def _comparison_row(a: str, b: str, difference: MetricDifference) -> dict[str, object]:
    values = (a, b, difference.a, difference.b, difference.low, difference.high, difference.p, difference.corrected_p)
    return dict(zip(COMPARISON_COLUMNS, values, strict=True))


def evaluate_table(args: Namespace) -> None:
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
