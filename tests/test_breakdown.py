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
    rows = {(row["by"], row["part"]): row for row in break_down(scores, table, ("source", "crf"), (), draws=50, seed=0)}
    assert (rows["all", "all"]["videos"], rows["manipulation", "Swap"]["fakes"]) == (20, 10)
    assert rows["source", "here"]["miss_rate"].startswith("0.000")
    assert rows["source", "there"]["miss_rate"].startswith("1.000")
    ranges = [interval for by, interval in rows if by == "crf" and interval not in ("worst", "gap")]
    assert ranges == ["20 to 22", "22 to 24", "24 to 27", "27 to 29"]
    assert sum(rows["crf", interval]["videos"] for interval in ranges) == 20


def test_ranges_can_have_edges(tests: Path) -> None:
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    rows = [row for row in break_down(scores, table, ("crf=20,21,29",), (), draws=50, seed=0) if row["by"] == "crf"]
    assert [(row["part"], row["videos"]) for row in rows[:2]] == [("20 to 21", 4), ("21 to 29", 16)]


def test_the_worst_part_and_the_gap_are_stated(tests: Path) -> None:
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    rows = {(row["by"], row["part"]): row for row in break_down(scores, table, ("source",), (), draws=200, seed=0)}
    worst, gap = rows["source", "worst"], rows["source", "gap"]
    assert (worst["videos"], worst["fakes"]) == (20, 10)
    assert str(worst["miss_rate"]).startswith("1.000 (1.000 to 1.000")
    assert str(worst["auc"]).startswith("0.500")
    assert str(gap["miss_rate"]).startswith("1.000")
    assert str(gap["auc"]).startswith("0.500")
    assert str(gap["false_alarm_rate"]).startswith("0.000 (0.000 to 0.000")
    assert ("manipulation", "gap") not in rows


@pytest.mark.parametrize("column", ["crf=20", "crf=30,20", "crf=low,high", "crf=20,,30", "crf=20,nan"])
def test_edges_that_make_no_ranges_are_refused(tests: Path, column: str) -> None:
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    with pytest.raises(UserError, match="needs at least two increasing numbers"):
        list(break_down(scores, table, (column,), (), draws=0, seed=0))


def test_manipulations_that_were_not_in_training_have_their_own_auc(tests: Path) -> None:
    with (tests / "videos.csv").open("a") as file:
        file.writelines(f"Warp/p{person},Warp,1,p{person},0.05,real\n" for person in range(10))
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    rows = {(row["by"], row["part"]): row for row in break_down(scores, table, ("source",), ("Warp",), draws=50, seed=0)}
    for by, part, known in (("all", "all", "0.75"), ("source", "here", "1.00"), ("source", "there", "0.50")):
        assert str(rows[by, part]["auc_known"]).startswith(known)
        assert str(rows[by, part]["auc_unknown"]).startswith("0.00")
    assert (rows["manipulation", "Swap"]["auc_unknown"], rows["manipulation", "Warp"]["auc_known"]) == ("", "")
    with pytest.raises(UserError, match="no tested fake is of Wrap; --unknown can name: Swap, Warp"):
        list(break_down(scores, table, (), ("Wrap",), draws=0, seed=0))


def test_a_table_that_does_not_fit_is_named(tests: Path) -> None:
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "people.csv")
    with pytest.raises(UserError, match="no column 'age'; there are: source, crf"):
        list(break_down(scores, table, ("age",), (), draws=0, seed=0))
    with pytest.raises(UserError, match="the column 'source' has no numbers"):
        list(break_down(scores, table, ("source=1,2",), (), draws=0, seed=0))
    with pytest.raises(UserError, match="none of the videos has a value of 'source'"):
        list(break_down(scores, pd.DataFrame({"source": ["here"]}, index=["other"]), ("source",), (), draws=0, seed=0))
    (tests / "names.csv").write_text("name\np1\n")
    with pytest.raises(UserError, match="neither a column 'video'"):
        read_table(tests / "names.csv")


def test_a_table_can_have_a_row_for_each_video_such_as_the_index(tests: Path) -> None:
    with (tests / "index.csv").open("w") as file:
        file.write("video,dataset\n")
        file.writelines(f"Original/p{n},{'A' if n < 5 else 'B'}\nSwap/p{n}_q,{'A' if n < 5 else 'B'}\n" for n in range(10))
    scores, table = read_scores(tests, 0.5).scores, read_table(tests / "index.csv")
    rows = {(row["by"], row["part"]): row for row in break_down(scores, table, ("dataset",), (), draws=50, seed=0)}
    assert str(rows["dataset", "A"]["miss_rate"]).startswith("0.000")
    assert str(rows["dataset", "worst"]["miss_rate"]).startswith("1.000")
