"""All or nothing on disk; a ledger that survives being killed."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.ledger import Ledger
from pipeline.outputs import aside, sweep, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), aside(target) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "stale.png").touch()
    with aside(tmp_path / "v") as unfinished:
        unfinished.mkdir()
        (unfinished / "fresh.png").touch()
    assert [path.name for path in (tmp_path / "v").iterdir()] == ["fresh.png"]


def test_sweep_removes_what_a_killed_run_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "m" / ".v.77.part").mkdir(parents=True)
    (tmp_path / "m" / ".v.77.part" / "0_0.png").touch()
    (tmp_path / "m" / ".a.77.part.json").touch()
    (tmp_path / "m" / "a.json").touch()
    sweep(tmp_path)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["a.json"]


def test_a_ledger_forgets_only_the_line_that_was_cut(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record("a", "k1", output="a.json")
    with ledger.path.open("a") as file:
        file.write('\n{"name": "b", "ke')
    again = Ledger(ledger.path)
    again.record("c", "k3")
    final = Ledger(ledger.path)
    assert final.is_current("a", "k1")
    assert not final.is_current("b", "k2")
    assert final.is_current("c", "k3")


def test_a_settled_ledger_has_the_same_bytes_in_whatever_order_the_work_was_done(tmp_path: Path) -> None:
    for name, order in (("one", "abc"), ("two", "cab")):
        ledger = Ledger(tmp_path / name)
        for item in order:
            ledger.record(item, f"key of {item}")
        assert ledger.settle(["a", "b"]) == ["c"]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_too_many_failures_end_the_stage_and_name_the_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record("a", "k")
    ledger.record("b", "k", file="b.mp4", reason="it is empty", remedy="fetch it again")
    ledger.report_failures(tmp_path / "failures.csv", max_failed_fraction=0.5)
    assert (tmp_path / "failures.csv").read_text() == "file,reason,remedy\nb.mp4,it is empty,fetch it again\n"
    with pytest.raises(UserError, match=r"1 of 2 videos failed.*b\.mp4: it is empty"):
        ledger.report_failures(tmp_path / "failures.csv", max_failed_fraction=0.4)
