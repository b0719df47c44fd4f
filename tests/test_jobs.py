"""WorkerPool and their jobs: what dies is replaced, what is given up ends, and nothing is lost."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import little_examiners
import pytest
from conftest import Project

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.serving.api import workers
from explain_deepfakes.serving.api.jobs import CANCELLED, DONE, FAILED, MARKER, QUEUED, RUNNING, Job, JobStore
from explain_deepfakes.serving.api.workers import WorkerConfig, WorkerPool


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "jobs", keep_minutes=10)


@contextmanager
def working(project: Project, examine: str, deadline: float = 60, waiting: int = 8) -> Iterator[WorkerPool]:
    orders = WorkerConfig(project.folder / "data/models/best.safetensors", "cpu", 1, examine=examine)
    one = WorkerPool(orders, 1, waiting, deadline)
    try:
        yield one
    finally:
        one.close(20)


def sent(store: JobStore, workers: WorkerPool, name: str = "it") -> Job:
    job = store.create(name)
    job.upload.touch()
    workers.submit(job)
    return job


def until(job: Job, *states: str) -> None:
    ends = time.monotonic() + 60
    while job.state not in states:
        assert time.monotonic() < ends, job
        time.sleep(0.02)


def test_a_job_whose_worker_died_is_done_by_another(finished: Project, store: JobStore) -> None:
    with working(finished, "little_examiners.dies_once") as one:
        job = sent(store, one)
        until(job, DONE, FAILED)
        assert (job.state, job.tries, one.crashes) == (DONE, 2, 1)


def test_a_job_that_kills_its_workers_is_failed_in_words_and_the_next_is_tried(finished: Project, store: JobStore) -> None:
    with working(finished, "little_examiners.dies") as one:
        jobs = [sent(store, one), sent(store, one)]
        for job in jobs:
            until(job, DONE, FAILED)
            assert job.state == FAILED
            assert "crashed 2 times" in (job.error or "")
        assert one.finished[FAILED] == 2


@pytest.mark.parametrize("examine", ["little_examiners.runs_long", "little_examiners.ignores_cancellation"])
def test_a_job_that_is_given_up_ends_and_the_next_is_done(
    finished: Project, store: JobStore, examine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SECONDS_TO_STOP", 0.5)
    with working(finished, examine) as one:
        job, other = sent(store, one), sent(store, one, "quick")
        until(job, RUNNING)
        job.is_cancelled.set()
        until(job, CANCELLED, FAILED, DONE)
        until(other, DONE)
        assert job.state == CANCELLED
        assert one.crashes == (examine == "little_examiners.ignores_cancellation")


@pytest.mark.parametrize("examine", ["little_examiners.runs_long", "little_examiners.ignores_cancellation"])
def test_a_job_that_takes_too_long_is_failed_in_words(
    finished: Project, store: JobStore, examine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SECONDS_TO_STOP", 0.5)
    with working(finished, examine, deadline=1) as one:
        job = sent(store, one)
        until(job, CANCELLED, FAILED, DONE)
        assert job.state == FAILED
        assert "more than 1 seconds" in (job.error or "")


@pytest.mark.parametrize(
    ("examine", "told"),
    [
        ("little_examiners.has_a_bug", "ValueError: the heat has 3 axes"),
        ("little_examiners.fills_the_disk", "No space left on device"),
    ],
)
def test_an_unexpected_error_fails_its_job_with_the_cause_and_costs_no_process(
    finished: Project, store: JobStore, examine: str, told: str
) -> None:
    with working(finished, examine) as one:
        job, other = sent(store, one), sent(store, one, "quick")
        until(job, DONE, FAILED)
        until(other, DONE, FAILED)
        assert (job.state, other.state) == (FAILED, DONE)
        assert told in (job.error or "")
        assert (job.tries, one.crashes) == (1, 0)


def test_the_traceback_of_an_unexpected_error_is_the_servers_to_print(
    store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    _, theirs = Pipe()
    request = workers.JobRequest(store.create("it").upload, "it", annotated=False)
    outcome = workers._run_job(theirs, None, request, little_examiners.has_a_bug)
    assert outcome == workers.JobOutcome(FAILED, "the server failed to examine it: ValueError: the heat has 3 axes")
    assert "in has_a_bug" in capsys.readouterr().err


def test_a_job_that_takes_all_memory_is_tried_by_another_process_and_fails_with_the_cause(
    finished: Project, store: JobStore
) -> None:
    with working(finished, "little_examiners.runs_out_of_memory") as one:
        job, other = sent(store, one), sent(store, one, "quick")
        until(job, DONE, FAILED)
        until(other, DONE, FAILED)
        assert (job.state, job.tries, other.state) == (FAILED, 2, DONE)
        assert "out of memory: MemoryError" in (job.error or "")


def test_a_job_of_which_nothing_can_be_written_ends_and_goes_when_its_time_is_up(
    finished: Project, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_is_full(path: Path, content: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with working(finished, "little_examiners.dies") as one:
        with monkeypatch.context() as patched:
            patched.setattr("explain_deepfakes.serving.api.jobs.write_json", disk_is_full)
            job = sent(store, one)
            until(job, DONE, FAILED)
        assert job.state == FAILED
        assert job.ended
        store.keep_seconds = 0
        store.remove_expired()
        assert store.get(job.id) is None
        assert not job.folder.exists()
        other = sent(store, one)  # the thread that gave it its job still gives jobs
        until(other, DONE, FAILED)


def test_where_no_process_can_be_started_it_is_tried_until_one_can(
    finished: Project, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failed = workers.Worker.start, list[int]()

    def too_many_files(orders: WorkerConfig, file: workers.FileIdentity) -> workers.Worker:
        if len(failed) < 2:
            failed.append(1)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return start(orders, file)

    monkeypatch.setattr(workers, "SECONDS_UNTIL_RETRY", 0.1)
    monkeypatch.setattr(workers.Worker, "start", too_many_files)
    with working(finished, "little_examiners.runs_long") as one:
        job = sent(store, one, "quick")
        until(job, DONE, FAILED)
        assert job.state == DONE


def test_more_than_may_wait_are_not_taken(finished: Project, store: JobStore) -> None:
    with working(finished, "little_examiners.runs_long", waiting=1) as one:
        running = sent(store, one)
        until(running, RUNNING)
        waiting = sent(store, one)
        assert not one.submit(store.create("third"))
        for job in (running, waiting):
            job.is_cancelled.set()


def test_a_network_that_cannot_be_loaded_is_said(store: JobStore, tmp_path: Path) -> None:
    one = WorkerPool(WorkerConfig(tmp_path / "none.safetensors", "cpu", 1), 1, 1, 1.0)
    ends = time.monotonic() + 60
    while not one.load_error and time.monotonic() < ends:
        time.sleep(0.05)
    one.close(5)
    assert "no checkpoint at" in (one.load_error or "")


def test_a_new_start_finds_what_waits_and_removes_what_it_cannot_read(store: JobStore) -> None:
    done, waiting, running, cut, unsent = (store.create(name) for name in ("done", "waiting", "running", "cut", "unsent"))
    done.set_state(DONE)
    waiting.write_record()
    running.set_state(RUNNING)
    (cut.folder / "job.json").write_text("{")
    unsent.upload.touch()
    store.close()
    again = JobStore(store.folder, keep_minutes=10)
    assert [(job.name, job.state) for job in again.recover()] == [("waiting", QUEUED), ("running", QUEUED)]
    assert again.get(done.id) is not None
    assert {path.name for path in store.folder.iterdir()} == {MARKER, done.id, waiting.id, running.id}


def test_a_folder_with_other_contents_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/video.mp4").touch()
    (tmp_path / "sixteen_letters_").mkdir()
    (tmp_path / "sixteen_letters_/video.mp4").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"contains holiday, which is no job; name another one with --jobs"):
        JobStore(tmp_path, keep_minutes=10)
    assert len(list(tmp_path.rglob("*"))) == 5


def test_other_contents_of_a_folder_of_jobs_stay(store: JobStore) -> None:
    """Also those that were added later, and those that look like a job."""
    (store.folder / "thesis").mkdir()
    (store.folder / "sixteen_letters_").mkdir()
    (store.folder / "sixteen_letters_/video.mp4").touch()
    store.close()
    assert JobStore(store.folder, keep_minutes=10).recover() == []
    assert (store.folder / "thesis").is_dir()
    assert (store.folder / "sixteen_letters_/video.mp4").is_file()


def test_only_one_server_uses_a_folder_of_jobs(store: JobStore) -> None:
    job = store.create("waiting")
    with pytest.raises(UserError, match="another server uses the jobs in"):
        JobStore(store.folder, keep_minutes=10)
    assert job.folder.is_dir()
    assert store.folder.stat().st_mode & 0o777 == job.folder.stat().st_mode & 0o777 == 0o700
    store.close()
    JobStore(store.folder, keep_minutes=10).close()


def test_a_record_with_another_id_is_no_job(store: JobStore) -> None:
    job = store.create("a")
    job.write_record()
    (job.folder / "job.json").write_text((job.folder / "job.json").read_text().replace(f'"{job.id}"', '["x"]'))
    store.close()
    assert JobStore(store.folder, keep_minutes=10).recover() == []
