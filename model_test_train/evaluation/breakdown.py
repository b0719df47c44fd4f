"""The metrics of a test by attributes of the people in its videos."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.model_test_train.evaluation.testing import (
    LabelledScore,
    estimate_metrics_of,
    get_estimate,
    group_by_method,
)
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_csv

METRICS = ("auc", "false_alarm_rate", "miss_rate")
COLUMNS = ("by", "part", "videos", "fakes", *METRICS)
RANGES = 4  # into which a column of numbers is binned

Row = dict[str, object]


def read_table(path: Path) -> pd.DataFrame:
    """Read the table, indexed by `id`."""
    if not path.is_file():
        raise UserError(f"the table {path} does not exist")
    try:
        table = pd.read_csv(path, dtype={"id": str})
    except ValueError as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from error
    if "id" not in table:
        raise UserError(f"{path} has no column 'id' with the names of real videos")
    return table.drop_duplicates("id").set_index("id")


def real_video_id(score: LabelledScore) -> str:
    """The id of the real video: `target` of `Method/target_source`."""
    return score.name.rpartition("/")[2].partition("_")[0]


def split_by_column(column: str, scores: Sequence[LabelledScore], table: pd.DataFrame) -> dict[str, list[LabelledScore]]:
    """The scores of the videos for each value of the column, or for each range of its numbers."""
    if column not in table:
        raise UserError(f"the table has no column '{column}'; there are: {', '.join(table.columns)}")
    ids = pd.Series([real_video_id(score) for score in scores])
    values = ids.map(table[column]).dropna()
    if values.empty:
        raise UserError("none of the videos is in the table: its column 'id' must have the names of the real videos")
    is_number = is_numeric_dtype(values) and values.nunique() > 1
    labels = pd.qcut(values, RANGES, duplicates="drop") if is_number else values
    groups = labels.groupby(labels, observed=True)
    return {_format_value(value): [scores[index] for index in rows.index] for value, rows in groups}


def _format_value(value: object) -> str:
    return f"{round(value.left)} to {round(value.right)}" if isinstance(value, pd.Interval) else str(value)


def break_down(
    scores: Sequence[LabelledScore], table: pd.DataFrame, columns: Sequence[str], draws: int, seed: int
) -> Iterator[Row]:
    """Rows for all videos, for each manipulation with the real videos, and for each value of the columns."""
    subsets: Mapping[str, Mapping[str, Sequence[LabelledScore]]] = {
        "all": {"all": scores},
        "manipulation": group_by_method(scores),
        **{column: split_by_column(column, scores, table) for column in columns},
    }
    for attribute, by_value in subsets.items():
        for value, videos in by_value.items():
            metrics = estimate_metrics_of(videos, draws, seed)
            counts = {"videos": metrics["count"], "fakes": metrics["fakes"]}
            estimates = {name: format_estimate(get_estimate(metrics, name)) for name in METRICS}
            yield {"by": attribute, "part": value, **counts, **estimates}


def write_breakdown(args: Namespace) -> None:
    scores = read_scores(args.tests, threshold=0.5).scores
    rows = list(break_down(scores, read_table(args.table), args.columns, args.bootstrap, args.seed))
    write_csv(args.output_path or args.tests / "breakdown.csv", COLUMNS, rows)
    for row in rows:
        print(" | ".join(str(row[column]) for column in COLUMNS))
