"""How good the verdicts of a test are on parts of its videos, by what a table says of the people in them.

    python model_test_train/breakdown.py --tests results/tests --table videos/portraits.csv --columns source crf skin_ita

The table has a column `id`: the name of the real video, and the first part of the names of the fakes made of it, as in
FaceForensics++ and in the corpus that make_portrait_videos.py makes. A column of numbers is cut into ranges of as many people.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from model_test_train.evaluation.plots import told
from model_test_train.evaluation.score_tables import read_scores
from model_test_train.evaluation.testing import LabelledScore, by_method, metrics_of
from pipeline.errors import UserError, run
from pipeline.outputs import write_csv
from pipeline.params import spellings
from pipeline.project import from_root

COLUMNS = ("by", "part", "videos", "fakes", "auc", "false_alarm_rate", "miss_rate")
FIGURES = ("auc", "false_alarm_rate", "miss_rate")
RANGES = 4  # that a column of numbers is cut into


def read_table(path: Path) -> pd.DataFrame:
    """Its rows, by `id`."""
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    try:
        table = pd.read_csv(path, dtype={"id": str})
    except ValueError as error:
        raise UserError(f"{path} cannot be read as a CSV: {error}") from error
    if "id" not in table:
        raise UserError(f"{path} has no column 'id', with the names of real videos")
    return table.drop_duplicates("id").set_index("id")


def id_of(judged: LabelledScore) -> str:
    """Method/target_source -> target."""
    return judged.name.rpartition("/")[2].partition("_")[0]


def parts_of(column: str, judged: Sequence[LabelledScore], table: pd.DataFrame) -> dict[str, list[LabelledScore]]:
    """The videos of each value of the column, or of each range of its numbers."""
    if column not in table:
        raise UserError(f"the table has no column '{column}'; there are: {', '.join(table.columns)}")
    ids = pd.Series([id_of(one) for one in judged])
    values = ids.map(table[column]).dropna()
    if values.empty:
        raise UserError("none of the videos is in the table: its column 'id' must have the names of the real ones")
    numbers = is_numeric_dtype(values) and values.nunique() > 1
    parts = pd.qcut(values, RANGES, duplicates="drop") if numbers else values
    return {_name_of(part): [judged[place] for place in rows.index] for part, rows in parts.groupby(parts, observed=True)}


def _name_of(part: object) -> str:
    return f"{round(part.left)} to {round(part.right)}" if isinstance(part, pd.Interval) else str(part)


def rows_of(
    judged: Sequence[LabelledScore], table: pd.DataFrame, columns: Sequence[str], draws: int, seed: int
) -> Iterator[dict[str, Any]]:
    """All videos, each manipulation beside the real videos, and the parts by each column."""
    parts: Mapping[str, Mapping[str, Sequence[LabelledScore]]] = {
        "all": {"all": judged},
        "manipulation": by_method(judged),
        **{column: parts_of(column, judged, table) for column in columns},
    }
    for by, of_column in parts.items():
        for part, videos in of_column.items():
            figures = metrics_of(videos, draws, seed)
            counts = {"videos": figures["count"], "fakes": figures["fakes"]}
            yield {"by": by, "part": part, **counts, **{name: told(figures[name]) for name in FIGURES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tests", type=Path, default=from_root("results/tests"), help="what test_model.py wrote")
    parser.add_argument("--table", type=Path, required=True, help="a CSV with a column 'id'")
    parser.add_argument("--columns", nargs="+", default=[], help="of the table, to divide the videos by")
    parser.add_argument("--bootstrap", type=int, default=1000, help="draws behind each interval (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of these draws")
    parser.add_argument(*spellings("output_path"), type=Path, help="a CSV (default: breakdown.csv in the folder of the tests)")
    given = parser.parse_args()
    judged = read_scores(given.tests, threshold=0.5).judged
    rows = list(rows_of(judged, read_table(given.table), given.columns, given.bootstrap, given.seed))
    write_csv(given.output_path or given.tests / "breakdown.csv", COLUMNS, rows)
    for row in rows:
        print(" | ".join(str(row[column]) for column in COLUMNS))


if __name__ == "__main__":
    run(main)
