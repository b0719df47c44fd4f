"""Test metrics broken down by the columns of a table about the people in the videos."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from explain_deepfakes.model_test_train.evaluation.breakdown import break_down, read_table
from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.pipeline.errors import UserError


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """Ten people; the fakes of those from 'there' are never detected."""
    with (tmp_path / "videos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "method", "label", "identities", "fake_probability", "verdict"))
        for person in range(10):
            writer.writerow((f"Original/p{person}", "Original", 0, f"p{person}", 0.1, "real"))
            probability = 0.9 if person < 5 else 0.1
            writer.writerow((f"Swap/p{person}_q", "Swap", 1, f"p{person}", probability, "fake" if person < 5 else "real"))
    with (tmp_path / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "source", "crf"))
        writer.writerows((f"p{person}", "here" if person < 5 else "there", 20 + person) for person in range(10))
    return tmp_path


def test_videos_are_divided_by_method_by_texts_and_by_ranges_of_numbers(tests: Path) -> None:
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    rows = {(row["by"], row["part"]): row for row in break_down(scores, table, ("source", "crf"), draws=50, seed=0)}
    assert (rows["all", "all"]["videos"], rows["manipulation", "Swap"]["fakes"]) == (20, 10)
    assert rows["source", "here"]["miss_rate"].startswith("0.000")
    assert rows["source", "there"]["miss_rate"].startswith("1.000")
    ranges = [interval for by, interval in rows if by == "crf"]
    assert ranges == ["20 to 22", "22 to 24", "24 to 27", "27 to 29"]
    assert sum(rows["crf", interval]["videos"] for interval in ranges) == 20


def test_a_table_that_does_not_fit_is_named(tests: Path) -> None:
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    with pytest.raises(UserError, match="no column 'age'; there are: source, crf"):
        list(break_down(scores, table, ("age",), draws=0, seed=0))
    with pytest.raises(UserError, match="none of the videos is in the table"):
        list(break_down(scores, pd.DataFrame({"source": ["here"]}, index=["other"]), ("source",), draws=0, seed=0))
    with pytest.raises(UserError, match="no column 'id'"):
        read_table(tests / "videos.csv")
