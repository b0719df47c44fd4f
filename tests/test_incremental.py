"""Incremental updates: shards, retries, killed runs and full disks, with work that takes no time."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import little_stage
import pytest
from little_stage import FAILING, KILLING, NAMES, run_stage
from little_videos import files_of

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import Scope, Shard, read_shard
from explain_deepfakes.preprocessing.crops.crops import find_ledgers


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    assert run_stage(root) == sorted(NAMES)
    assert run_stage(root) == []
    return files_of(root)


def shards(count: int) -> list[Scope]:
    return [Scope(Shard(number, count)) for number in range(1, count + 1)]


def test_every_video_is_in_one_shard_and_shards_are_about_as_large() -> None:
    names = [f"Original/{number:04d}" for number in range(1000)]
    for count in (1, 3, 7):
        shares = [[name for name in names if Shard(number, count).holds(name)] for number in range(1, count + 1)]
        assert sorted(sum(shares, [])) == names
        assert all(0.7 < len(share) * count / 1000 < 1.3 for share in shares)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "2", "a/b", "1/4/2", "-1/4", "1.0/4", ""])
def test_a_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="it must be i/N"):
        read_shard(text)


def test_shards_on_one_disk_merge_to_the_bytes_of_one_run(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    processed = [name for scope in shards(3) for name in run_stage(tmp_path, scope=scope)]
    assert sorted(processed) == sorted(NAMES)
    with pytest.raises(UserError, match="without --shard"):
        find_ledgers(tmp_path / "stage")
    assert run_stage(tmp_path) == []
    assert files_of(tmp_path) == undisturbed
    assert find_ledgers(tmp_path / "stage") == [tmp_path / "stage/ledger.jsonl"]


def test_shards_on_their_own_disks_copied_together_merge_to_the_bytes_of_one_run(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    together = tmp_path / "together"
    for number, scope in enumerate(shards(3)):
        run_stage(tmp_path / f"disk{number}", scope=scope)
        shutil.copytree(tmp_path / f"disk{number}", together, dirs_exist_ok=True)
    assert run_stage(together) == []
    assert files_of(together) == undisturbed


def test_a_run_without_shard_does_what_the_shards_left_undone(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    first, _, third = shards(3)
    processed = run_stage(tmp_path, scope=first) + run_stage(tmp_path, scope=third)
    assert run_stage(tmp_path) == sorted(set(NAMES) - set(processed))
    assert files_of(tmp_path) == undisturbed


def test_a_shard_does_again_only_what_changed_and_leaves_the_rest_alone(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run_stage(tmp_path, names=NAMES[1:], setting="a")
    (tmp_path / "stage/test_set/Original/.001.99.part").mkdir()  # another shard is working on it
    processed = [name for scope in shards(4) for name in run_stage(tmp_path, scope=scope)]
    assert processed == [NAMES[0]]
    neighbours = [scope for scope in shards(4) if scope.shard and not scope.shard.holds("Original/001")]
    for scope in neighbours:
        run_stage(tmp_path, setting="b", scope=scope)
    assert (tmp_path / "stage/test_set/Original/.001.99.part").is_dir()
    assert run_stage(tmp_path) == sorted(name for name in NAMES if any(s.shard.holds(name) for s in neighbours))
    shutil.rmtree(tmp_path / "stage/test_set/Original/.001.99.part")
    assert files_of(tmp_path) == undisturbed


def test_a_shard_that_has_nothing_to_do_harms_nobody(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run_stage(tmp_path)
    for scope in shards(50)[:3]:
        assert run_stage(tmp_path, scope=scope, names=NAMES[:1]) == []
    run_stage(tmp_path)
    assert files_of(tmp_path) == undisturbed


def test_what_vanished_while_shards_worked_is_removed_by_the_merge(tmp_path: Path) -> None:
    for scope in shards(2):
        run_stage(tmp_path, scope=scope)
    run_stage(tmp_path, names=NAMES[:6])
    assert {name.split("/")[2] for name in files_of(tmp_path) if "/" in name and "test_set" in name} == {"Deepfakes"}
    assert not (tmp_path / "stage/test_set/Original").exists()
    with pytest.raises(UserError, match="holds the results for 6 videos of Deepfakes, but this run is about no videos"):
        run_stage(tmp_path, names=[])
    run_stage(tmp_path, names=[], scope=Scope(replace=True))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["beside", "failures.csv", "ledger.jsonl", "stage"]


def test_shards_of_two_counts_that_disagree_cost_work_but_nothing_wrong_is_kept(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    for scope in shards(2):
        run_stage(tmp_path, scope=scope)
    third = shards(3)[0]
    redone = run_stage(tmp_path, scope=third, setting="b")
    assert redone
    assert run_stage(tmp_path) == redone
    assert files_of(tmp_path) == undisturbed


def test_a_merge_that_was_killed_half_way_is_resumed(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    for scope in shards(3):
        run_stage(tmp_path, scope=scope)
    kept = {name: content for name, content in files_of(tmp_path).items() if ".2-of-3." in name}
    run_stage(tmp_path)
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    assert run_stage(tmp_path) == []
    assert files_of(tmp_path) == undisturbed


def test_failures_of_a_shard_have_a_table_of_their_own_and_a_limit_of_their_own(tmp_path: Path) -> None:
    named = next(scope for scope in shards(2) if scope.shard and scope.shard.holds(FAILING))
    second_shard = next(scope for scope in shards(2) if scope != named)
    with pytest.raises(UserError, match=rf"^1 of \d videos failed.*{FAILING}"):
        run_stage(tmp_path, scope=named, allowed=0.1)
    run_stage(tmp_path, scope=second_shard, allowed=0.0)
    tables = {name: content for name, content in files_of(tmp_path / "stage").items() if name.startswith("failures")}
    assert {content.count(b"\n") for content in tables.values()} == {1, 2}
    run_stage(tmp_path, allowed=0.1)
    assert (tmp_path / "stage/failures.csv").read_text() == f"file,reason,remedy\n{FAILING}.mp4,it is broken,mend it\n"
    assert not list((tmp_path / "stage").glob("*-of-*"))


def test_what_failed_is_tried_again_when_asked_for_and_else_not(tmp_path: Path) -> None:
    run_stage(tmp_path)
    assert run_stage(tmp_path, fail=False) == []
    assert run_stage(tmp_path, fail=False, scope=Scope(retry_failed=True)) == [FAILING]
    assert run_stage(tmp_path, fail=False, scope=Scope(retry_failed=True)) == []
    assert (tmp_path / f"stage/test_set/{FAILING}/0_0.png").is_file()
    assert (tmp_path / "stage/failures.csv").read_text().count("\n") == 1


def test_a_shard_tries_again_what_failed_in_the_run_before(tmp_path: Path) -> None:
    run_stage(tmp_path)
    tried = [run_stage(tmp_path, fail=False, scope=Scope(scope.shard, retry_failed=True)) for scope in shards(2)]
    assert sorted(tried) == [[], [FAILING]]


def test_a_video_that_kills_its_process_is_a_row_and_its_neighbours_go_on(tmp_path: Path) -> None:
    assert run_stage(tmp_path, workers=2, kill=True).count(KILLING) == 2
    table = (tmp_path / "stage/failures.csv").read_text()
    assert f"{KILLING}.mp4,the worker process crashed each time on this video (SIGKILL)" in table
    assert "--retry-failed" in table
    assert len(list((tmp_path / "stage/test_set").glob("*/*"))) == len(NAMES) - 2
    assert run_stage(tmp_path, scope=Scope(retry_failed=True)) == sorted([KILLING, FAILING])


def test_another_split_moves_a_video_and_leaves_no_empty_folder(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run_stage(tmp_path, split="training_set")
    assert run_stage(tmp_path) == sorted(NAMES)
    assert files_of(tmp_path) == undisturbed
    assert not (tmp_path / "stage/training_set").exists()


# --- Interrupted runs


def start(root: Path, *before: str, **options) -> subprocess.Popen[str]:
    """Start the stage as a separate command."""
    root.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*before, sys.executable, little_stage.__file__, str(root), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def killed(root: Path, after: float, **options) -> None:
    """Start the stage, and kill all its processes `after` seconds after the first video was begun."""
    log = root.parent / f"{root.name}.log"
    log.unlink(missing_ok=True)
    started = start(root, **options)
    while started.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.005)
    time.sleep(after)
    with suppress(ProcessLookupError):  # it has already ended
        os.killpg(started.pid, signal.SIGKILL)
    started.communicate()


def test_killed_again_and_again_while_videos_and_settings_come_and_go(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"repeat it with SEED={seed}")
    rng = random.Random(seed)
    root = tmp_path / "killed"
    for _ in range(int(os.environ.get("KILLS", 6))):
        options = {
            "names": [name for name in NAMES if rng.random() < 0.8],
            "setting": rng.choice("ab"),
            "split": rng.choice(("test_set", "training_set")),
            "workers": rng.choice((1, 2)),
            "slowly": 0.005,
            **({"shard": [rng.randint(1, 2), 2]} if rng.random() < 0.3 else {}),
        }
        killed(root, rng.uniform(0, 0.25), **options)
    finished = start(root)
    assert finished.communicate()[1].count("error") == 0
    assert finished.returncode == 0
    assert files_of(root) == undisturbed


def test_a_setting_that_was_tried_and_taken_back_costs_only_the_videos_begun_with_it(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    root = tmp_path / "killed"
    run_stage(root)
    killed(root, 0.5, setting="b", slowly=0.2)
    redone = run_stage(root)
    assert 1 <= len(redone) <= 3
    assert files_of(root) == undisturbed


def test_what_a_killed_run_left_goes_though_a_shard_has_done_the_video_since(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    root = tmp_path / "killed"
    killed(root, 0.1, slowly=0.2, split="training_set")
    assert any(".part" in name for name in files_of(root))
    for number in (1, 2):
        run_stage(root, scope=Scope(Shard(number, 2)))
    run_stage(root)
    assert files_of(root) == undisturbed


def test_a_video_that_vanishes_after_a_run_was_killed_over_it_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "killed"
    killed(root, 0.1, slowly=0.2)
    assert any(".part" in name for name in files_of(root))
    run_stage(root, names=[], scope=Scope(replace=True))
    assert set(files_of(root)) == {"stage/ledger.jsonl", "stage/failures.csv"}


def test_a_run_that_was_killed_over_its_tables_leaves_nothing_of_them(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    (tmp_path / "stage").mkdir()
    unfinished = [f".{table}.77.part.{kind}" for table, kind in (("ledger", "jsonl"), ("failures", "csv"))]
    of_shards = [name.replace(".77", f".{number}-of-2.77") for name in unfinished for number in (1, 2)]
    for name in (*unfinished, *of_shards):
        (tmp_path / "stage" / name).touch()
    run_stage(tmp_path, scope=shards(2)[0])
    left = {path.name for path in (tmp_path / "stage").glob(".*")}
    assert left == {name for name in (*unfinished, *of_shards) if "1-of-2" not in name}
    run_stage(tmp_path)
    assert files_of(tmp_path) == undisturbed


def error_line(started: subprocess.Popen[str]) -> str:
    _, output = started.communicate(timeout=30)
    assert started.returncode == 2, output
    assert output.startswith("error: ")
    assert output.count("\n") == 1, output
    return output


IN_A_MOUNT = ("unshare", "--map-root-user", "--mount", "sh", "-c")
can_mount = subprocess.run([*IN_A_MOUNT, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount, reason="this user may not mount a small disk")
@pytest.mark.parametrize(("size", "workers"), [(40, 1), (64, 2), (84, 2)])
def test_a_full_disk_ends_in_one_line_and_leaves_nothing_half_written(
    tmp_path: Path, undisturbed: dict[str, bytes], size: int, workers: int
) -> None:
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    kept.mkdir()
    script = f"mount -t tmpfs -o size={size}k none {disk} && $0 $@; status=$?; cp -a {disk}/. {kept}; exit $status"
    script = script.replace("$0 $@", '"$0" "$@"')
    assert "No space left on device" in error_line(start(disk, *IN_A_MOUNT, script, workers=workers))
    left = files_of(kept)
    assert not [name for name in left if ".part" in name]
    assert {name: content for name, content in left.items() if name.endswith(".png")}.items() <= undisturbed.items()
    assert 0 < len(run_stage(kept)) < len(NAMES)
    assert files_of(kept) == undisturbed


@pytest.mark.skipif(not can_mount, reason="this user may not mount a small disk")
def test_a_disk_that_may_not_be_written_to_ends_in_one_line(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o ro none {tmp_path / "disk"} && "$0" "$@"'
    assert "Read-only file system" in error_line(start(tmp_path / "disk", *IN_A_MOUNT, script))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("stage", "File exists|Not a directory"),
        ("stage/test_set", "File exists|Not a directory"),
        ("stage/test_set/Original", "File exists|Not a directory"),
    ],
)
def test_a_folder_that_is_a_file_ends_in_one_line(tmp_path: Path, file: str, reason: str) -> None:
    root = tmp_path / "stage_root"
    (root / file).parent.mkdir(parents=True)
    (root / file).touch()
    line = error_line(start(root))
    assert re.search(reason, line)
    assert line.rstrip().endswith(str(root / file)) or file in line


def test_a_ledger_that_is_a_folder_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "stage_root/stage/ledger.jsonl").mkdir(parents=True)
    assert "Is a directory" in error_line(start(tmp_path / "stage_root"))


def test_a_damaged_ledger_costs_only_what_it_recorded(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run_stage(tmp_path)
    ledger = tmp_path / "stage/ledger.jsonl"
    lines = ledger.read_text().splitlines()
    lines[2] = "no JSON"
    ledger.write_text("\n".join(lines))
    assert run_stage(tmp_path) == [NAMES[2]]
    assert files_of(tmp_path) == undisturbed
