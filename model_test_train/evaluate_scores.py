"""Anybody's fake probabilities of videos -> the figures and plots that the stage test gives of ours.

    python model_test_train/evaluate_scores.py SCORES.csv [--threshold 0.5] [--output_path results/scores]

The CSV has a column for the video, its label (0 or real, 1 or fake) and its fake probability; where it has them, one for the
manipulation, and one for the people in it, by which intervals are drawn.
"""

import argparse
from pathlib import Path

from model_test_train.evaluation.plots import draw_all, told
from model_test_train.evaluation.score_tables import read_scores
from model_test_train.evaluation.testing import metrics_by_method, metrics_of
from pipeline.errors import run
from pipeline.ledger import content_hash
from pipeline.outputs import write_csv, write_json
from pipeline.params import spellings

COLUMNS = ("name", "method", "label", "group", "probability", "called_fake")
TOLD = ("accuracy", "balanced_accuracy", "auc", "ap", "f1", "eer", "log_loss", "calibration_error")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("scores", type=Path, help="a CSV of videos, or a folder that test_model.py wrote")
    parser.add_argument("--threshold", type=float, default=0.5, help="fake above it (default: %(default)s)")
    parser.add_argument("--bootstrap", type=int, default=1000, help="draws behind each interval (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of these draws")
    parser.add_argument(*spellings("output_path"), type=Path, default=Path("results/scores"), help="(default: %(default)s)")
    given = parser.parse_args()
    table = read_scores(given.scores, given.threshold)
    measured = {
        "video": metrics_of(table.judged, given.bootstrap, given.seed),
        "video_by_method": metrics_by_method(table.judged, given.bootstrap, given.seed),
    }
    drawn = "groups of identities" if table.has_people else "videos, as if no two shared a person"
    protocol = {
        "model": given.scores.stem,
        "warning": None,
        "split": "as given",
        "aggregation": "as given",
        "threshold": given.threshold,
        "scores": content_hash(given.scores) if given.scores.is_file() else None,
        "intervals": f"95 %, bootstrap over {drawn}, {given.bootstrap} draws",
    }
    write_json(given.output_path / "metrics.json", measured)
    write_json(given.output_path / "protocol.json", protocol)
    write_csv(given.output_path / "videos.csv", COLUMNS, map(vars, table.judged))
    draw_all(given.output_path, table.judged, measured, protocol)
    print(f"{len(table.judged)} videos, {measured['video']['fakes']} of them fake; intervals: {protocol['intervals']}")
    for name in TOLD:
        print(f"  {name:<20}{told(measured['video'][name])}")
    print(f"tables and plots: {given.output_path}")


if __name__ == "__main__":
    run(main)
