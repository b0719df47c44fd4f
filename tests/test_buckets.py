"""Buckets: videos, boxes and crops in object storage equal those on a disk."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from little_storage import object_storage, objects, storage_flags
from little_videos import face_video, files_of, original, project, run_script
from test_workers import wait_until

from explain_deepfakes.pipeline.buckets import is_in_bucket, join_path, parse_path, reachable_path
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import JOURNALS, Ledger
from explain_deepfakes.pipeline.project import CODE

if TYPE_CHECKING:
    from s3fs import S3FileSystem
    from upath import UPath

VIDEOS = [f"{seed:03d}" for seed in range(6)]
FLAGS = ("--frames", "3", "--workers", "2")


@pytest.fixture(scope="module")
def storage() -> Iterator["S3FileSystem"]:
    with object_storage() as files:
        yield files


@pytest.fixture(scope="module")
def folder(storage: "S3FileSystem", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with videos, boxes and crops on its disk; the same videos are in the bucket."""
    folder = project(tmp_path_factory.mktemp("buckets") / "project")
    for seed, name in enumerate(VIDEOS):
        face_video(original(folder / "data/videos", name), seed)
    storage.put(str(folder / "data/videos"), "faces/videos", recursive=True)
    assert run_script(folder, "index_videos").returncode == 0
    result = run_script(folder, "preprocess", *FLAGS, "--boxes_path", "here/boxes", "--output_path", "here/crops")
    assert result.returncode == 0, result.stderr
    assert len(files_of(folder / "here")) > 3 * len(VIDEOS)
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def test_a_corpus_in_a_bucket_has_the_index_that_it_has_on_a_disk(
    storage: "S3FileSystem", folder: Path, tmp_path: Path
) -> None:
    bucket_project = project(tmp_path / "other")
    result = run_script(bucket_project, "index_videos", "--data_path", "s3://faces/videos")
    assert result.returncode == 0, result.stderr
    here, there = (rows(project_folder / "data/index/videos.csv") for project_folder in (folder, bucket_project))
    assert [row.pop("path") for row in there] == [row.pop("path").replace("data/", "s3://faces/") for row in here]
    assert there == here


def test_boxes_and_crops_in_a_bucket_are_those_of_a_disk(storage: "S3FileSystem", folder: Path) -> None:
    result = run_script(folder, "preprocess", *FLAGS, *storage_flags("once"))
    assert result.returncode == 0, result.stderr
    assert objects(storage, "once") == files_of(folder / "here")
    assert "preprocess" not in run_script(folder, "preprocess", *FLAGS, *storage_flags("once")).stderr  # nothing is stale


def test_a_run_that_is_killed_is_resumed_and_shards_are_merged(storage: "S3FileSystem", folder: Path) -> None:
    command = [sys.executable, CODE / "preprocessing/preprocess.py", *FLAGS, *storage_flags("killed")]
    running = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True)
    first_output = "faces/killed/crops/training_set/Original"
    wait_until(lambda: storage.exists(first_output) and len(storage.ls(first_output)) > 1, seconds=120)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    journals = folder / JOURNALS
    assert any(journals.iterdir())
    assert not storage.exists("faces/killed/crops/ledger.jsonl")
    for number in (1, 2):
        assert run_script(folder, "preprocess", *FLAGS, *storage_flags("killed"), "--shard", f"{number}/2").returncode == 0
        assert storage.exists(f"faces/killed/crops/ledger.{number}-of-2.jsonl")
    merged = run_script(folder, "preprocess", *FLAGS, *storage_flags("killed"))
    assert merged.returncode == 0, merged.stderr
    assert "preprocess" not in merged.stderr
    assert objects(storage, "killed") == files_of(folder / "here")
    assert not any(journals.iterdir())


def test_what_vanished_from_the_index_goes_from_the_bucket_too(storage: "S3FileSystem", folder: Path, tmp_path: Path) -> None:
    index = folder / "data/index/videos.csv"
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(index.read_text().splitlines(keepends=True)[:-2]))
    for table in (index, fewer):
        result = run_script(folder, "preprocess", *FLAGS, *storage_flags("fewer"), "--index", str(table))
        assert result.returncode == 0, result.stderr
    left = objects(storage, "fewer")
    assert {Path(name).stem for name in left if name.startswith("boxes/Original")} == set(VIDEOS[:-2])
    assert {Path(name).parent.name for name in left if name.endswith(".png")} == set(VIDEOS[:-2])


def test_a_video_that_is_gone_from_its_bucket_is_among_the_failures(storage: "S3FileSystem", tmp_path: Path) -> None:
    bucket_project = project(tmp_path / "other")
    for seed in range(2):
        face_video(tmp_path / f"corpus/real/{seed}.mp4", seed)
    storage.put(str(tmp_path / "corpus"), "faces/few", recursive=True)
    assert run_script(bucket_project, "index_videos", "--data_path", "s3://faces/few").returncode == 0
    storage.rm("faces/few/real/1.mp4")
    result = run_script(bucket_project, "preprocess", *FLAGS, "--max_failed_fraction", "1")
    assert result.returncode == 0, result.stderr
    (failed,) = rows(bucket_project / "data/boxes/failures.csv")
    assert failed["file"] == "s3://faces/few/real/1.mp4"
    assert failed["reason"].startswith("there is no such file")


@pytest.mark.parametrize(
    ("boxes_path", "environment", "message"),
    [
        ("s3://nowhere/boxes", {}, "error: there is no bucket s3://nowhere"),
        (
            "s3://faces/boxes",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"},
            "error: s3://faces/boxes cannot be reached: Could not c",
        ),
        ("s3://", {}, "error: s3:// cannot be reached"),
    ],
)
def test_a_bucket_that_cannot_be_had_is_one_line(
    storage: "S3FileSystem",
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    boxes_path: str,
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run_script(folder, "preprocess", "--boxes_path", boxes_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)


def test_what_must_lie_on_a_disk_says_so(folder: Path) -> None:
    result = run_script(folder, "preprocess", "--index", "s3://faces/videos.csv")
    assert result.returncode == 2
    assert result.stderr.startswith("error: s3://faces/videos.csv is in a bucket, but a local path is required; download it")


def test_a_journal_says_nothing_of_a_ledger_that_somebody_else_put_there(
    storage: "S3FileSystem", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = []
    for machine in ("one", "other"):
        monkeypatch.chdir(project(tmp_path / machine))
        ledgers.append(Ledger(parse_path("s3://faces/shared/ledger.jsonl")))
        ledgers[-1].record("video", f"as {machine} made it")
    ledgers[1].compact(["video"])
    monkeypatch.chdir(tmp_path / "one")
    assert Ledger(parse_path("s3://faces/shared/ledger.jsonl")).entry("video")["key"] == "as other made it"


def test_a_ledger_that_cannot_be_replaced_stays_as_it_was(
    storage: "S3FileSystem", folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    path = parse_path("s3://faces/kept/ledger.jsonl")
    ledger = Ledger(path)
    ledger.record("video", "before")
    ledger.compact(["video"])
    ledger = Ledger(path)
    ledger.record("video", "after")

    def cut(*_: object) -> None:
        raise OSError("the line is cut")

    with monkeypatch.context() as patched:
        patched.setattr(cast("UPath", path).fs, "put", cut)
        with pytest.raises(UserError, match="the line is cut"):
            ledger.compact(["video"])
    assert b'"before"' in storage.cat_file("faces/kept/ledger.jsonl")
    assert Ledger(path).entry("video")["key"] == "after"  # its journal is still there
    ledger.compact(["video"])


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        UserError, match=r"s3://faces needs s3fs, which is not installed; run `pip install 'explain-deepfakes\[s3\]'"
    ):
        parse_path("s3://faces")


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    assert reachable_path("videos/s3:/x") == Path("videos/s3:/x")
    assert not is_in_bucket(parse_path("videos"))
    assert join_path(tmp_path / "crops", "../masks/a") == tmp_path / "masks/a"
    assert Ledger(tmp_path / "ledger.jsonl").journal == tmp_path / "ledger.jsonl"


def test_names_beside_a_folder_of_a_bucket(storage: "S3FileSystem") -> None:
    assert str(join_path(parse_path("s3://faces/crops"), "../masks/a b/c")) == "s3://faces/masks/a b/c"
