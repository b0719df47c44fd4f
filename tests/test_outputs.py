"""Atomic writes, and a ledger that survives a killed process."""

import os
import shutil
from pathlib import Path

import pytest

from explain_deepfakes.pipeline.disk_dict import DiskDict
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import Ledger, report_failures
from explain_deepfakes.pipeline.outputs import atomic_write, remove_empty_folders, remove_leftovers, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "stale.png").touch()
    with atomic_write(tmp_path / "v") as unfinished:
        unfinished.mkdir()
        (unfinished / "fresh.png").touch()
    assert [path.name for path in (tmp_path / "v").iterdir()] == ["fresh.png"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "mine.mp4").touch()
    with pytest.raises(UserError, match="videos is a folder, but a file would be written there; name a file"):
        write_text(tmp_path / "videos", "a table")
    assert [path.name for path in tmp_path.rglob("*")] == ["videos", "mine.mp4"]


def test_sweep_removes_what_a_killed_run_left_of_these_and_nothing_else(tmp_path: Path) -> None:
    for target in (tmp_path / "m/a.json", tmp_path / "m/v.1"):
        with atomic_write(target) as unfinished:
            unfinished.mkdir()
            (unfinished / "0_0.png").touch()
            shutil.copytree(unfinished, unfinished.with_name(unfinished.name.replace(str(os.getpid()), "77")))
    foreign = {".v.77.part.1.json", ".b.77.part.json", ".part", "mine.part"}
    for name in foreign:
        (tmp_path / "m" / name).touch()
    assert len(list((tmp_path / "m").iterdir())) == 8
    remove_leftovers([tmp_path / "m/a.json", tmp_path / "m/v.1", tmp_path / "m/gone.json", tmp_path / "no such folder/a.json"])
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"a.json", "v.1", *foreign}


@pytest.mark.parametrize(
    "name",
    ["字" * 78 + ".json", "字" * 85, "a" * 235 + ".json", "a." + "b" * 250, "字" * 83 + ".x.png"],
    ids=["boxes", "folder", "ascii", "long suffix", "two suffixes"],
)
def test_a_name_as_long_as_the_disk_takes_is_written_and_swept(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with atomic_write(target) as unfinished:
        unfinished.write_text("whole")
        assert len(target.suffix) > 5 or unfinished.name.endswith(target.suffix)  # the suffix selects the format
        shutil.copy(unfinished, unfinished.with_name(unfinished.name.replace(str(os.getpid()), "77")))
    of_another = unfinished.with_name(unfinished.name.replace(".", ".a", 1))
    of_another.touch()
    assert target.read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers([target])
    assert set(tmp_path.iterdir()) == {target, of_another}


def test_empty_folders_go_up_to_the_top_and_full_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/full").touch()
    remove_empty_folders(tmp_path / "a/b/c", tmp_path)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["full"]
    (tmp_path / "a/full").unlink()
    remove_empty_folders(tmp_path / "a/gone before", tmp_path)
    assert tmp_path.is_dir()
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    "damage", [b'{"name": 3, "key": "k"}', b"[]", b"\xff\xfe\x00", b'{"name": "x", "key": "k", "outputs": 1}']
)
def test_a_ledger_with_a_damaged_line_says_so_and_keeps_the_others(
    tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(damage + b'\n{"name": "a", "key": "k"}\n')
    assert set(Ledger(path).entries) == {"a"}
    assert capsys.readouterr().err == f"{path}: ignored 1 damaged line(s); their items are processed again\n"


def test_a_settled_ledger_has_the_same_bytes_in_whatever_order_the_work_was_done(tmp_path: Path) -> None:
    for name, order in (("one", "abc"), ("two", "cab")):
        ledger = Ledger(tmp_path / name)
        for item in order:
            ledger.record(item, f"key of {item}")
        assert ledger.compact(["a", "b"]) == ["c"]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_disk_dict_is_sorted_and_a_full_disk_is_reported_in_words() -> None:
    names = ["b", "a/1", "é", "\udcff", "a", "\U0001f600"]
    texts = DiskDict((name, ascii(name)) for name in names)
    texts["a"], texts["c"] = "anew", "more"
    del texts["b"]
    expected = {name: ascii(name) for name in names} | {"a": "anew", "c": "more"}
    expected.pop("b")
    assert list(texts.items()) == sorted(expected.items())
    assert len(texts) == len(expected)
    assert "b" not in texts
    with pytest.raises(KeyError):
        del texts["b"]
    texts.table.execute("PRAGMA max_page_count = 4")
    with pytest.raises(OSError, match="disk is full .folder of temporary files; set TMPDIR"):
        texts.update((str(number), 1000 * "x") for number in range(100))


def test_too_many_failures_end_the_stage_and_name_the_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.record("a", "k")
    ledger.record("b", "k", file="b.mp4", reason="it is empty", remedy="fetch it again")
    entries = list(ledger.entries.values())
    report_failures(entries, tmp_path / "failures.csv", max_failed_fraction=0.5)
    assert (tmp_path / "failures.csv").read_text() == "file,reason,remedy\nb.mp4,it is empty,fetch it again\n"
    with pytest.raises(UserError, match=r"1 of 2 videos failed.*b\.mp4: it is empty"):
        report_failures(entries, tmp_path / "failures.csv", max_failed_fraction=0.4)
