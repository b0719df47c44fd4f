"""Compare two tested detectors: which metrics differ, and whether significantly."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explain_deepfakes.model_test_train.evaluation.score_tables import ScoreTable, read_scores
from explain_deepfakes.model_test_train.evaluation.testing import as_arrays, first_difference
from explain_deepfakes.model_test_train.metrics.comparison import MIN_DIFFERENCE, SIGNIFICANCE_LEVEL, MetricDifference, compare
from explain_deepfakes.model_test_train.metrics.intervals import json_number
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_csv, write_json

OF_DETECTOR = ("aggregation", "crops")  # keys of a protocol that belong to the detector: published ones have their own
OF_TEST = ("dataset", "split", "index", "frames_per_video", "sampling")
MUST_AGREE = (*OF_TEST, *OF_DETECTOR)  # for the members of an ensemble, whose scores of each face are combined
COLUMNS = ("figure", "a", "b", "difference", "low", "high", "p", "corrected_p", "test")
LOWER_IS_BETTER = {"eer", "false_alarm_rate", "miss_rate", "log_loss", "brier", "calibration_error"}

Row = dict[str, str | float | None]


@dataclass(frozen=True)
class TestedModel:
    name: str
    table: ScoreTable


def read_tested_model(path: Path, threshold: float) -> TestedModel:
    table = read_scores(path, threshold)
    return TestedModel(table.protocol["model"] if table.protocol else path.stem, table)


def check_comparable(a: TestedModel, b: TestedModel) -> None:
    """Raise unless both were tested under the same conditions and on the same videos."""
    protocol_a, protocol_b = a.table.protocol, b.table.protocol
    if protocol_a and protocol_b and (difference := first_difference(protocol_a, protocol_b, OF_TEST)):
        key, value_a, value_b = difference
        raise UserError(
            f"the two were not tested under the same conditions: {key} is {value_a} for A and {value_b} for B; "
            "test both with the same settings"
        )
    labels_a, labels_b = ({score.name: score.label for score in model.table.scores} for model in (a, b))
    unmatched = sorted(labels_a.items() ^ labels_b.items())
    if unmatched:
        name, label = unmatched[0]
        side = "A" if unmatched[0] in labels_a.items() else "B"
        raise UserError(
            f"the two were not tested on the same videos: {name} with label {label} is only in {side}, "
            f"and {len(unmatched)} rows have no match"
        )


def describe_detectors(a: TestedModel, b: TestedModel) -> list[str]:
    """What belongs to the detectors and is not the same for both, as sentences."""
    if not (a.table.protocol and b.table.protocol):
        return []
    rules = [(key, a.table.protocol.get(key), b.table.protocol.get(key)) for key in OF_DETECTOR]
    return [f"Note: {key} of A: {of_a}; of B: {of_b}" for key, of_a, of_b in rules if of_a != of_b]


def compare_tested_models(a: TestedModel, b: TestedModel, draws: int, seed: int) -> list[MetricDifference]:
    order = {score.name: position for position, score in enumerate(a.table.scores)}
    scores_b = sorted(b.table.scores, key=lambda score: order[score.name])
    groups = np.array([score.group for score in (a.table.scores if a.table.has_people else scores_b)], int)
    return compare(as_arrays(a.table.scores), as_arrays(scores_b), groups, draws, seed)


def describe_differences(a: str, b: str, videos: int, differences: Sequence[MetricDifference]) -> str:
    """The result of the comparison as a sentence."""
    ranking = next(difference for difference in differences if difference.metric == "auc")
    auc = (
        f"the AUC of {b} is {ranking.b:.3f} and that of {a} {ranking.a:.3f}, a difference of {ranking.b - ranking.a:+.3f} "
        f"(95 % interval {ranking.low:+.3f} to {ranking.high:+.3f}, p = {ranking.p:.2g})"
    )
    significant = [difference for difference in differences if difference.is_significant]
    if not significant:
        return f"On the same {videos} videos, no metric differs significantly: {auc}."
    changes = [f"{d.metric} ({d.a:.3f} to {d.b:.3f})" for d in significant]
    is_better = [(d.b > d.a) != (d.metric in LOWER_IS_BETTER) for d in significant]
    comparative = "better" if all(is_better) else "partly better and partly worse" if any(is_better) else "worse"
    return f"On the same {videos} videos, {b} is {comparative} than {a} in {', '.join(changes)}; {auc}."


def _row(difference: MetricDifference) -> Row:
    numbers = {name: getattr(difference, name) for name in ("a", "b", "low", "high", "p", "corrected_p")}
    numbers["difference"] = difference.b - difference.a
    rounded = {name: json_number(number) for name, number in numbers.items()}
    return {"figure": difference.metric, "test": difference.test, **rounded}


def print_differences(differences: Sequence[MetricDifference]) -> None:
    print(f"{'':<20}{'A':>8}{'B':>8}{'B - A':>9}{'95 % interval':>20}{'p':>9}{'corrected':>11}  test")
    for d in differences:
        interval = "none" if np.isnan(d.low) else f"{d.low:+.3f} to {d.high:+.3f}"
        mark = "*" if d.is_significant else ""
        numbers = f"{d.a:>8.3f}{d.b:>8.3f}{d.b - d.a:>+9.3f}{interval:>20}{d.p:>9.2g}{d.corrected_p:>11.2g}"
        print(f"{d.metric:<20}{numbers}  {d.test} {mark}")
    print(
        f"* significant: a difference of at least {MIN_DIFFERENCE:g}, and p under {SIGNIFICANCE_LEVEL:g} after correction "
        f"for {len(differences)} tests (Holm)"
    )


def compare_models(args: Namespace) -> None:
    a, b = (read_tested_model(path, args.threshold) for path in (args.a, args.b))
    check_comparable(a, b)
    differences = compare_tested_models(a, b, args.bootstrap, args.seed)
    words = describe_differences(f"A ({a.name})", f"B ({b.name})", len(a.table.scores), differences)
    rows = [_row(difference) for difference in differences]
    write_csv(args.output_path / "comparison.csv", COLUMNS, rows)
    write_json(args.output_path / "comparison.json", {"words": words, "a": a.name, "b": b.name, "differences": rows})
    print_differences(differences)
    print(words, *describe_detectors(a, b), sep="\n")
