"""Workers and their jobs: what dies is replaced, what is given up ends, and nothing is lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Project

from serving import workers
from serving.jobs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Job, Store
from serving.workers import Orders, Workers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "jobs", keep_minutes=10)


@contextmanager
def working(project: Project, examine: str, deadline: float = 60, waiting: int = 8) -> Iterator[Workers]:
    orders = Orders(project.folder / "data/models/best.safetensors", "cpu", 1, examine=examine)
    one = Workers(orders, 1, waiting, deadline)
    try:
        yield one
    finally:
        one.close(20)


def sent(store: Store, workers: Workers, name: str = "it") -> Job:
    job = store.new(name)
    job.upload.touch()
    workers.submit(job)
    return job


def until(job: Job, *states: str) -> None:
    ends = time.monotonic() + 60
    while job.state not in states:
        assert time.monotonic() < ends, job
        time.sleep(0.02)


def test_a_job_whose_worker_died_is_done_by_another(finished: Project, store: Store) -> None:
    with working(finished, "little_examiners.dies_once") as one:
        job = sent(store, one)
        until(job, DONE, FAILED)
        assert (job.state, job.tries, one.lost) == (DONE, 2, 1)


def test_a_job_that_kills_its_workers_is_failed_in_words_and_the_next_is_tried(finished: Project, store: Store) -> None:
    with working(finished, "little_examiners.dies") as one:
        jobs = [sent(store, one), sent(store, one)]
        for job in jobs:
            until(job, DONE, FAILED)
            assert job.state == FAILED
            assert "died, 2 times" in (job.error or "")
        assert one.finished[FAILED] == 2


@pytest.mark.parametrize("examine", ["little_examiners.goes_on", "little_examiners.is_deaf"])
def test_a_job_that_is_given_up_ends_and_the_next_is_done(
    finished: Project, store: Store, examine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SECONDS_TO_STOP", 0.5)
    with working(finished, examine) as one:
        job, other = sent(store, one), sent(store, one, "quick")
        until(job, RUNNING)
        job.is_cancelled.set()
        until(job, CANCELLED, FAILED, DONE)
        until(other, DONE)
        assert job.state == CANCELLED
        assert one.lost == (examine == "little_examiners.is_deaf")


@pytest.mark.parametrize("examine", ["little_examiners.goes_on", "little_examiners.is_deaf"])
def test_a_job_that_takes_too_long_is_failed_in_words(
    finished: Project, store: Store, examine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SECONDS_TO_STOP", 0.5)
    with working(finished, examine, deadline=1) as one:
        job = sent(store, one)
        until(job, CANCELLED, FAILED, DONE)
        assert job.state == FAILED
        assert "more than 1 seconds" in (job.error or "")


def test_more_than_may_wait_are_not_taken(finished: Project, store: Store) -> None:
    with working(finished, "little_examiners.goes_on", waiting=1) as one:
        running = sent(store, one)
        until(running, RUNNING)
        waiting = sent(store, one)
        assert not one.submit(store.new("third"))
        for job in (running, waiting):
            job.is_cancelled.set()


def test_a_network_that_cannot_be_loaded_is_said(store: Store, tmp_path: Path) -> None:
    one = Workers(Orders(tmp_path / "none.safetensors", "cpu", 1), 1, 1, 1.0)
    ends = time.monotonic() + 60
    while not one.unable and time.monotonic() < ends:
        time.sleep(0.05)
    one.close(5)
    assert "no checkpoint at" in (one.unable or "")


def test_a_new_start_finds_what_waits_and_removes_what_it_cannot_read(store: Store) -> None:
    done, waiting, running = (store.new(name) for name in ("done", "waiting", "running"))
    done.become(DONE)
    waiting.record()
    running.become(RUNNING)
    (store.folder / "rubbish").mkdir()
    (store.folder / "rubbish/job.json").write_text("{")
    again = Store(store.folder, keep_minutes=10)
    assert [(job.name, job.state) for job in again.recover()] == [("waiting", QUEUED), ("running", QUEUED)]
    assert again.get(done.id) is not None
    assert not (store.folder / "rubbish").exists()
