"""Compute the metrics and plots of stage test for videos' fake probabilities from any source.

    python model_test_train/evaluate_scores.py SCORES.csv [--threshold 0.5] [--output_path results/scores]

The CSV needs columns for the video, its label (0 or real, 1 or fake) and its fake probability. Columns for the manipulation
and for the people in the video are optional; intervals are computed over groups of people.
"""

import argparse
from pathlib import Path

from explain_deepfakes.model_test_train.evaluation.plots import format_estimate, write_plots
from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.model_test_train.evaluation.testing import (
    ProtocolHeader,
    VideoMetrics,
    estimate_metrics_by_method,
    estimate_metrics_of,
    get_estimate,
)
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_csv, write_json
from explain_deepfakes.pipeline.params import flag_spellings

COLUMNS = ("name", "method", "label", "group", "probability", "called_fake")
PRINTED_METRICS = ("accuracy", "balanced_accuracy", "auc", "ap", "f1", "eer", "log_loss", "calibration_error")


class ScoresProtocol(ProtocolHeader):
    """The conditions of metrics that were computed from a table of scores."""

    scores: str | None  # hash of the file


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("scores", type=Path, help="a CSV of videos, or a folder that test_model.py wrote")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="probability above which a video is fake (default: %(default)s)"
    )
    parser.add_argument("--bootstrap", type=int, default=1000, help="bootstrap draws of each interval (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument(
        *flag_spellings("output_path"),
        type=Path,
        default=Path("results/scores"),
        help="folder for metrics and plots (default: %(default)s)",
    )
    args = parser.parse_args()
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


if __name__ == "__main__":
    run(main)
