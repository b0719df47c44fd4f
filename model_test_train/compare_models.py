"""Two networks' verdicts on the same videos -> which figures differ, by how much, and whether chance would do as much.

    python model_test_train/compare_models.py --a results/tests --b other/tests [--output_path results/comparison]

Each is a folder that test_model.py wrote, or a CSV of videos, labels and probabilities. What was not measured alike is refused.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_test_train.evaluation.score_tables import ScoreTable, read_scores
from model_test_train.evaluation.testing import disagreement, scores_of
from model_test_train.metrics.comparison import LEAST, SIGNIFICANT, Difference, compare
from model_test_train.metrics.intervals import plain
from pipeline.errors import UserError, run
from pipeline.outputs import write_csv, write_json
from pipeline.params import spellings

MUST_AGREE = ("dataset", "split", "index", "frames_per_video", "aggregation", "crops")  # of the two protocols
COLUMNS = ("figure", "a", "b", "difference", "low", "high", "p", "corrected_p", "test")
LESS_IS_BETTER = {"eer", "false_alarm_rate", "miss_rate", "log_loss", "brier", "calibration_error"}


@dataclass(frozen=True)
class Side:
    name: str
    table: ScoreTable


def read_side(path: Path, threshold: float) -> Side:
    table = read_scores(path, threshold)
    return Side(table.protocol["model"] if table.protocol else path.stem, table)


def refuse_unlike(a: Side, b: Side) -> None:
    """Before numbers are compared that do not belong together."""
    of_a, of_b = a.table.protocol, b.table.protocol
    if of_a and of_b and (unlike := disagreement(of_a, of_b, MUST_AGREE)):
        key, one, other = unlike
        raise UserError(f"the two were not tested alike: {key} is {one} with A and {other} with B; test both in one way")
    videos = [{one.name: one.label for one in side.table.judged} for side in (a, b)]
    differing = sorted(videos[0].items() ^ videos[1].items())
    if differing:
        (name, label), where = differing[0], "A" if differing[0] in videos[0].items() else "B"
        raise UserError(
            f"the two did not judge the same videos: {name} stands so (label {label}) in {where} only, "
            f"and {len(differing)} rows differ"
        )


def compared(a: Side, b: Side, draws: int, seed: int) -> list[Difference]:
    order = {one.name: place for place, one in enumerate(a.table.judged)}
    of_b = sorted(b.table.judged, key=lambda one: order[one.name])
    groups = np.array([one.group for one in (a.table.judged if a.table.has_people else of_b)], int)
    return compare(scores_of(a.table.judged), scores_of(of_b), groups, draws, seed)


def in_words(a: str, b: str, videos: int, differences: Sequence[Difference]) -> str:
    """A sentence that can stand by itself."""
    ranked = next(difference for difference in differences if difference.figure == "auc")
    auc = (
        f"by AUC, {b} is at {ranked.b:.3f} and {a} at {ranked.a:.3f}, a difference of {ranked.b - ranked.a:+.3f} "
        f"(95 % interval {ranked.low:+.3f} to {ranked.high:+.3f}, p = {ranked.p:.2g})"
    )
    certain = [difference for difference in differences if difference.is_significant]
    if not certain:
        return f"On the same {videos} videos no figure differs beyond chance: {auc}."
    told = [f"{d.figure} ({d.a:.3f} to {d.b:.3f})" for d in certain]
    better = [(d.b > d.a) != (d.figure in LESS_IS_BETTER) for d in certain]
    how = "better" if all(better) else "partly better and partly worse" if any(better) else "worse"
    return f"On the same {videos} videos {b} is {how} than {a} in {', '.join(told)}; {auc}."


def _row(difference: Difference) -> dict[str, Any]:
    numbers = {name: getattr(difference, name) for name in ("a", "b", "low", "high", "p", "corrected_p")}
    numbers["difference"] = difference.b - difference.a
    return {"figure": difference.figure, "test": difference.test, **{name: plain(number) for name, number in numbers.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--a", type=Path, required=True, help="a folder that test_model.py wrote, or a CSV")
    parser.add_argument("--b", type=Path, required=True, help="the other")
    parser.add_argument("--threshold", type=float, default=0.5, help="of a CSV without verdicts (default: %(default)s)")
    parser.add_argument("--bootstrap", type=int, default=2000, help="draws behind intervals and tests (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of these draws")
    parser.add_argument(*spellings("output_path"), type=Path, default=Path("results/comparison"), help="(default: %(default)s)")
    given = parser.parse_args()
    a, b = (read_side(path, given.threshold) for path in (given.a, given.b))
    refuse_unlike(a, b)
    differences = compared(a, b, given.bootstrap, given.seed)
    words = in_words(f"A ({a.name})", f"B ({b.name})", len(a.table.judged), differences)
    rows = [_row(difference) for difference in differences]
    write_csv(given.output_path / "comparison.csv", COLUMNS, rows)
    write_json(given.output_path / "comparison.json", {"words": words, "a": a.name, "b": b.name, "differences": rows})
    print(f"{'':<20}{'A':>8}{'B':>8}{'B - A':>9}{'95 % interval':>20}{'p':>9}{'corrected':>11}  test")
    for one in differences:
        interval = "none" if np.isnan(one.low) else f"{one.low:+.3f} to {one.high:+.3f}"
        mark = "*" if one.is_significant else ""
        figures = f"{one.a:>8.3f}{one.b:>8.3f}{one.b - one.a:>+9.3f}{interval:>20}{one.p:>9.2g}{one.corrected_p:>11.2g}"
        print(f"{one.figure:<20}{figures}  {one.test} {mark}")
    print(f"* at least {LEAST:g}, and beyond chance: under {SIGNIFICANT:g} though {len(differences)} figures were asked (Holm)")
    print(words)


if __name__ == "__main__":
    run(main)
