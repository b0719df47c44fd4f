"""Preprocessing on Ray gives the same bytes as without it, even if machines fail."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import little_stage
import psutil
import pytest
from little_stage import NAMES, run_stage
from little_storage import object_storage, objects, storage_flags
from little_videos import face_video, files_of, original, project, run_script
from test_workers import double, double_or_die, fail_on_three, wait_until

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import Outcome, Scope, StageFolder, VideoTask, update_outputs
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.pipeline.ray_workers import map_unordered

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster
    from s3fs import S3FileSystem

cluster_utils = pytest.importorskip("ray.cluster_utils")


@pytest.fixture(scope="module")
def storage() -> Iterator["S3FileSystem"]:
    with object_storage() as files:
        yield files


@pytest.fixture(scope="module")
def environment(storage: "S3FileSystem") -> Iterator[None]:
    """Environment of all Ray processes: import paths, a bucket, and normal priority."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join((str(CODE), str(CODE / "tests"), os.environ.get("PYTHONPATH", ""))))
        patched.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="module")
def cluster(environment: None) -> Iterator["Cluster"]:
    """Two worker machines beside a head node; Ray does not check that the second one's GPU exists."""
    machines = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        machines.add_node(num_cpus=1)
        machines.add_node(num_cpus=1, num_gpus=1)
        machines.wait_for_nodes()
        yield machines
    finally:
        machines.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    run_stage(root)
    return files_of(root / "stage")


def test_items_are_taken_as_they_are_needed_and_no_sooner(cluster: "Cluster") -> None:
    numbers = iter(range(1_000_000))
    results = map_unordered(double, numbers, workers=2, address=cluster.address)
    some = [next(results) for _ in range(20)]
    results.close()
    assert len(set(some)) == 20
    assert max(some) < 2 * (20 + 4)  # even if one of the two is slow
    assert next(numbers) <= 20 + 2 + 2  # two are queued by Ray


def test_an_error_of_the_work_comes_as_it_was_raised(cluster: "Cluster") -> None:
    with pytest.raises(OSError, match="No space left on device") as raised:
        list(map_unordered(fail_on_three, range(6), workers=2, address=cluster.address))
    assert raised.value.filename == "crop.png"


def test_work_that_ends_its_process_costs_nobody_but_itself(cluster: "Cluster") -> None:
    work = partial(double_or_die, by=signal.SIGKILL)
    results = map_unordered(work, range(6), workers=2, on_crash=lambda number, reason: -number, address=cluster.address)
    assert sorted(results) == [-3, 0, 2, 4, 8, 10]


def mark_and_make(task: VideoTask, marks: Path, folder: Path, setting: str, log: Path, slowly: float) -> Outcome:
    """Mark the machine that works on the task."""
    import ray

    (marks / ray.get_runtime_context().get_node_id()).touch()
    return little_stage.make(task, folder, setting, log, slowly)


def test_a_machine_that_is_lost_in_mid_work_costs_nothing_but_time(
    cluster: "Cluster", tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    doomed = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    marks, log, root = tmp_path / "marks", tmp_path / "log", tmp_path / "stage_root"
    marks.mkdir()

    def end_it() -> None:
        wait_until((marks / doomed.node_id).exists, seconds=300)
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=end_it)
    killer.start()
    work = partial(mark_and_make, marks=marks, folder=root / "stage", setting="a", log=log, slowly=1.0)
    stage_folder = StageFolder(root / "stage", partial(little_stage.make_task, setting="a"))
    update_outputs(list(map(little_stage.video, NAMES)), stage_folder, work, "testing", 3, 0.5, Scope(ray=cluster.address))
    killer.join()
    assert files_of(root / "stage") == undisturbed
    begun = log.read_text().split()
    assert sorted(set(begun)) == sorted(NAMES)
    assert len(begun) == len(NAMES) + 1  # the video that the lost machine was working on


def test_the_detector_of_a_cluster_with_a_gpu_leaves_the_same_bytes(cluster: "Cluster", tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    for seed in range(2):
        face_video(original(folder / "data/videos", f"{seed:03d}"), seed)
    for name, extra_flags in (("here", ()), ("there", ("--address", cluster.address))):
        flags = ("--data_path", "data/videos", "--boxes_path", f"{name}/boxes", "--output_path", f"{name}/crops")
        result = run_script(folder, "preprocess", "--frames", "3", "--workers", "1", *flags, *extra_flags)
        assert result.returncode == 0, result.stderr
        assert result.stderr.splitlines()[-1].startswith("preprocess: 2 of 2 videos")
    assert len(files_of(folder / "here")) > 6
    assert files_of(folder / "there") == files_of(folder / "here")


def test_machines_read_from_a_bucket_and_write_to_it(cluster: "Cluster", storage: "S3FileSystem", tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    for seed in range(2):
        face_video(original(folder / "data/videos", f"{seed:03d}"), seed)
    storage.put(str(folder / "data/videos"), "faces/videos", recursive=True)
    assert run_script(folder, "index_videos", "--data_path", "s3://faces/videos").returncode == 0
    here = "--boxes_path", "here/boxes", "--output_path", "here/crops"
    for extra_flags in (here, (*storage_flags("there"), "--address", cluster.address)):
        result = run_script(folder, "preprocess", "--frames", "3", "--workers", "1", *extra_flags)
        assert result.returncode == 0, result.stderr
    assert objects(storage, "there") == files_of(folder / "here")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process_and_is_resumed(
    environment: None, by: signal.Signals, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    root = tmp_path / "stage_root"
    options = '{"ray": "local", "slowly": 0.5}'
    command = [sys.executable, CODE / "tests/little_stage.py", str(root), options]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    log = tmp_path / "stage_root.log"
    wait_until(lambda: running.poll() is not None or log.exists() and len(log.read_text().split()) > 2, seconds=300)
    assert running.poll() is None, running.communicate()[1]
    processes = psutil.Process(running.pid).children(recursive=True)
    assert any(process.name() == "raylet" for process in processes)
    os.killpg(running.pid, by)
    _, stderr = running.communicate()
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    if by == signal.SIGINT:
        assert running.returncode == 130
        assert stderr.splitlines()[-1].startswith("interrupted; finished work is kept")
    again = run_stage(root)
    assert 0 < len(again) < len(NAMES)
    assert files_of(root / "stage") == undisturbed


def test_where_ray_cannot_be_had_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="there is no Ray cluster at '127.0.0.1:1'"):
        list(map_unordered(double, range(3), workers=1, address="127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install 'explain-deepfakes"):
        list(map_unordered(double, range(3), workers=1))
