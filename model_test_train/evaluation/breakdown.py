"""The metrics of a test by attributes of the people in its videos."""

import math
import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.model_test_train.evaluation.testing import (
    LabelledScore,
    as_arrays,
    estimate_metrics_of,
    get_estimate,
    group_by_method,
)
from explain_deepfakes.model_test_train.metrics.intervals import NO_DRAWS, bootstrap_weights, format_estimate, make_estimate
from explain_deepfakes.model_test_train.metrics.point_metrics import compute_metrics
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_csv

METRICS = {"auc": True, "false_alarm_rate": False, "miss_rate": False}  # whether a higher value is better
COLUMNS = ("by", "part", "videos", "fakes", *METRICS)
COLUMNS_BY_TRAINING = ("auc_known", "auc_unknown")  # for manipulations that were in training, and for those that were not
RANGES = 4  # into which a column of numbers is binned, unless its edges are specified

Row = dict[str, object]


def read_table(path: Path) -> pd.DataFrame:
    """Read the table, indexed by `video`, which are names as in the index, or by `id`, which are those of real videos."""
    if not path.is_file():
        raise UserError(f"the table {path} does not exist")
    try:
        table = pd.read_csv(path, dtype={"id": str, "video": str})
    except ValueError as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from error
    key = next((key for key in ("video", "id") if key in table), None)
    if not key:
        raise UserError(
            f"{path} has neither a column 'video' with names as in the index, nor 'id' with the names of real videos"
        )
    return table.drop_duplicates(key).set_index(key)


def real_video_id(score: LabelledScore) -> str:
    """The id of the real video: `target` of `Method/target_source`."""
    return score.name.rpartition("/")[2].partition("_")[0]


def split_by_column(column: str, scores: Sequence[LabelledScore], table: pd.DataFrame) -> dict[str, list[LabelledScore]]:
    """The scores of the videos for each value of the column, or for each range of its numbers, as in `crf=18,29,40`."""
    name, edges = parse_column(column)
    if name not in table:
        raise UserError(f"the table has no column '{name}'; there are: {', '.join(table.columns)}")
    keys = pd.Series([score.name if table.index.name == "video" else real_video_id(score) for score in scores])
    values = keys.map(table[name]).dropna()
    if values.empty:
        raise UserError(
            f"none of the videos has a value of '{name}': compare the table's column '{table.index.name}' with the test"
        )
    if edges and not is_numeric_dtype(values):
        raise UserError(f"the column '{name}' has no numbers, so it cannot be divided at {edges[0]:g}")
    labels = values
    if edges:
        labels = pd.cut(values, edges, include_lowest=True)
    elif is_numeric_dtype(values) and values.nunique() > 1:
        labels = pd.qcut(values, RANGES, duplicates="drop")
    groups = labels.groupby(labels, observed=True)
    return {_format_value(value): [scores[index] for index in rows.index] for value, rows in groups}


def parse_column(column: str) -> tuple[str, list[float]]:
    """Name and edges of a column such as `crf=18,29,40`."""
    name, _, text = column.partition("=")
    try:
        edges = [float(edge) for edge in text.split(",")] if text else []
    except ValueError:
        edges = [math.nan]
    if text and not (len(edges) > 1 and all(low < high for low, high in pairwise(edges))):
        raise UserError(f"--columns {column} needs at least two increasing numbers after '=', as in crf=18,29,40")
    return name, edges


def _format_value(value: object) -> str:
    return f"{round(value.left)} to {round(value.right)}" if isinstance(value, pd.Interval) else str(value)


def check_methods(scores: Sequence[LabelledScore], unknown: Sequence[str]) -> None:
    methods = {score.method for score in scores if score.label}
    if missing := set(unknown) - methods:
        raise UserError(f"no tested fake is of {min(missing)}; --unknown can name: {', '.join(sorted(methods))}")


def split_by_training(scores: Sequence[LabelledScore], unknown: Sequence[str]) -> list[list[LabelledScore]]:
    """The fakes whose manipulation was in training, and those whose was not, each with all real videos."""
    return [[s for s in scores if not s.label or (s.method in unknown) == is_unknown] for is_unknown in (False, True)]


def break_down(
    scores: Sequence[LabelledScore],
    table: pd.DataFrame,
    columns: Sequence[str],
    unknown: Sequence[str],
    draws: int,
    seed: int,
) -> Iterator[Row]:
    """Rows for all videos, for each manipulation with the real videos, and for each value of the columns."""
    check_methods(scores, unknown)
    subsets: Mapping[str, Mapping[str, Sequence[LabelledScore]]] = {
        "all": {"all": scores},
        "manipulation": group_by_method(scores),
        **{parse_column(column)[0]: split_by_column(column, scores, table) for column in columns},
    }
    for attribute, by_value in subsets.items():
        for value, videos in by_value.items():
            metrics = estimate_metrics_of(videos, draws, seed)
            counts = {"videos": metrics["count"], "fakes": metrics["fakes"]}
            estimates = {name: format_estimate(get_estimate(metrics, name)) for name in METRICS}
            by_training = aucs_by_training(videos, unknown, draws, seed) if unknown else {}
            yield {"by": attribute, "part": value, **counts, **estimates, **by_training}
        if len(by_value) > 1 and attribute != "manipulation":
            yield from compare_parts(attribute, list(by_value.values()), draws, seed)


def compare_parts(attribute: str, parts: Sequence[Sequence[LabelledScore]], draws: int, seed: int) -> Iterator[Row]:
    """Rows for the worst part and for the gap between the worst and the best one, by each metric.

    Each draw of the bootstrap takes the worst part in it, so the interval includes the uncertainty of which part is the worst.
    """
    scores = [score for part in parts for score in part]
    groups = np.array([score.group for score in scores], int)
    ends = np.cumsum([len(part) for part in parts])
    rows = [slice(end - len(part), end) for part, end in zip(parts, ends, strict=True)]
    blocks = list(bootstrap_weights(groups, draws, seed))
    values = [compute_metrics(as_arrays(part)) for part in parts]
    drawn = [
        compute_metrics(as_arrays(part), [block[:, own] for block in blocks]) for part, own in zip(parts, rows, strict=True)
    ]
    counts: Row = {"videos": len(scores), "fakes": sum(score.label for score in scores)}
    worst, gap = ({"by": attribute, "part": name, **counts} for name in ("worst", "gap"))
    for metric, higher_is_better in METRICS.items():
        table = np.array([value[metric] for value in values])  # (parts, 1)
        draws_table = np.array([part.get(metric, NO_DRAWS) for part in drawn])  # (parts, draws)
        pick = np.nanmin if higher_is_better else np.nanmax
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a part without fakes has no AUC
            worst[metric] = format_estimate(make_estimate(float(pick(table)), pick(draws_table, axis=0)))
            gaps = [np.nanmax(each, axis=0) - np.nanmin(each, axis=0) for each in (table, draws_table)]
        gap[metric] = format_estimate(make_estimate(float(gaps[0][0]), gaps[1]))
    yield from (worst, gap)


def aucs_by_training(videos: Sequence[LabelledScore], unknown: Sequence[str], draws: int, seed: int) -> dict[str, str]:
    """The AUC of the manipulations that were in training, and of those that were not; empty without such fakes."""
    aucs = {}
    for column, part in zip(COLUMNS_BY_TRAINING, split_by_training(videos, unknown), strict=True):
        has_fakes = any(score.label for score in part)
        aucs[column] = format_estimate(get_estimate(estimate_metrics_of(part, draws, seed), "auc")) if has_fakes else ""
    return aucs


def write_breakdown(args: Namespace) -> None:
    scores = read_scores(args.tests, threshold=0.5).scores
    rows = list(break_down(scores, read_table(args.table), args.columns, args.unknown, args.bootstrap, args.seed))
    columns = (*COLUMNS, *COLUMNS_BY_TRAINING) if args.unknown else COLUMNS
    write_csv(args.output_path or args.tests / "breakdown.csv", columns, rows)
    for row in rows:
        print(" | ".join(str(row.get(column, "")) for column in columns))
