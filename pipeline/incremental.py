"""Keeping a stage's outputs up to date, video by video: what is new or stale is worked on, what vanished is removed.

A video's outputs are claimed in the ledger before they are touched, so that a killed run takes up where it was, leaves
nothing that nobody owns, and ends with the same bytes as an undisturbed one.

A shard does its part of the videos and knows of no other: it writes a ledger of its own and removes nothing that may be
another's. A run without `--shard` takes the shards' ledgers over before it does anything else.
"""

import hashlib
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from pipeline.buckets import is_in_bucket, within
from pipeline.disk_dict import DiskDict
from pipeline.errors import UserError
from pipeline.index import Video
from pipeline.ledger import Entries, Entry, Ledger, report_failures
from pipeline.outputs import ASIDE, remove, remove_empty_folders, sweep
from pipeline.params import SwitchFlag, TextFlag
from pipeline.progress import track
from pipeline.ray_workers import LOCAL
from pipeline.ray_workers import map_unordered as map_on_ray
from pipeline.workers import map_unordered

LEDGER, FAILURES = "ledger.jsonl", "failures.csv"
BEGUN = "begun"  # the key of a video whose outputs are being made

SCOPE_FLAGS: dict[str, SwitchFlag | TextFlag] = {
    "shard": TextFlag("i/N: do the i-th of N parts of the videos; a run without it, when all are done, merges them"),
    "retry_failed": SwitchFlag("try again the videos that failed before, though nothing changed"),
    "ray": SwitchFlag("work in processes of Ray, an extra; `workers` is how many"),
    "address": TextFlag("of a Ray cluster to work on, as host:6379 or auto; `workers` counts over all of it"),
    "replace": SwitchFlag("delete the results of another corpus where they lie in the output folder"),
}


@dataclass(frozen=True)
class Shard:
    number: int  # the first is 1
    count: int

    def holds(self, video: str) -> bool:
        return int(hashlib.sha256(video.encode()).hexdigest(), 16) % self.count == self.number - 1

    def name_of(self, file: str) -> str:
        """ledger.jsonl -> ledger.2-of-4.jsonl"""
        stem, suffix = os.path.splitext(file)
        return f"{stem}.{self.number}-of-{self.count}{suffix}"


def read_shard(text: str) -> Shard:
    numbers = re.fullmatch(r"(\d+)/(\d+)", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise UserError(f"shard is '{text}'; it must be i/N with i from 1 to N, for example 2/4")
    return Shard(int(numbers[1]), int(numbers[2]))


@dataclass(frozen=True)
class Scope:
    """Which of the videos a run takes on, and where."""

    shard: Shard | None = None  # None: all of them
    retry_failed: bool = False
    ray: str | None = None  # address of the Ray cluster that does the work; None: processes of this machine do
    replace: bool = False  # results of another corpus, which else are left alone

    def holds(self, video: Video) -> bool:
        return not self.shard or self.shard.holds(video.video)


def scope_of(given: Namespace) -> Scope:
    shard = read_shard(given.shard) if given.shard else None
    ray = given.address or (LOCAL if given.ray else None)
    return Scope(shard, bool(given.retry_failed), ray, bool(given.replace))


@dataclass(frozen=True, slots=True)
class Job:
    video: Video
    key: str  # hash of all that the result depends on
    outputs: tuple[str, ...]  # what may be written: files and folders, relative to the stage's folder


StaleItem = tuple[Job | None, ...]  # a video's jobs, one for each folder that is kept up; None where there is nothing to do


@dataclass(frozen=True)
class Outcome:
    """What became of a video. `reason` and `remedy` tell of a failure, which may leave an output all the same."""

    job: Job
    outputs: tuple[str, ...]  # those of the job's that were written
    facts: dict[str, Any]


def failure(job: Job, reason: str, remedy: str, outputs: tuple[str, ...] = ()) -> Outcome:
    return Outcome(job, outputs, {"reason": reason, "remedy": remedy})


@dataclass(frozen=True)
class Part:
    """A folder, and what is to be in it: what the job of each video leaves."""

    folder: Path
    job_of: Callable[[Video], Job]


@dataclass(frozen=True)
class Chosen:
    """Some of the videos, as often as one goes through them."""

    videos: Iterable[Video]
    holds: Callable[[Video], bool]

    def __iter__(self) -> Iterator[Video]:
        return filter(self.holds, self.videos)


def update_outputs(
    videos: Iterable[Video],
    part: Part,
    work: Callable[[Job], Outcome],
    what: str,
    workers: int,
    max_failed_fraction: float,
    scope: Scope,
) -> None:
    """Does the jobs that are due. `work` writes a job's output before it returns, and runs in other processes."""
    update_all_outputs(videos, [part], partial(_alone, work), what, workers, max_failed_fraction, scope)


def update_all_outputs(
    videos: Iterable[Video],
    parts: Sequence[Part],
    work: Callable[[StaleItem], Sequence[Outcome | None]],
    what: str,
    workers: int,
    max_failed_fraction: float,
    scope: Scope,
) -> None:
    """Several folders at once: `work` does a video's jobs for all of them. One that is due makes those behind it due.

    The videos are gone through again and again, and none is kept: how many there are makes no difference to the memory.
    """
    upkeeps = [_Upkeep(part, scope.shard) for part in parts]
    if not scope.replace:
        for upkeep in upkeeps:
            upkeep.refuse_other_corpus(videos)
    videos = Chosen(videos, scope.holds)
    to_do = DiskDict((_video_of(due).video, "") for due in _due(videos, upkeeps, scope.retry_failed))
    count = len(to_do)
    still_to_do = Chosen(videos, lambda video: video.video in to_do) if count else ()
    map_work = partial(map_on_ray, address=scope.ray) if scope.ray else map_unordered
    try:
        due = _claimed(_due(still_to_do, upkeeps, scope.retry_failed), upkeeps)
        with closing(map_work(work, due, workers, died=_lost)) as outcomes:
            for outcome in track(outcomes, count, what, "videos"):
                for upkeep, done in zip(upkeeps, outcome, strict=True):
                    if done:
                        upkeep.record(done)
    finally:  # what a process that died, or was stopped, had not finished
        for upkeep in upkeeps:
            sweep(map(upkeep.place, upkeep.claimed))
    for upkeep in upkeeps:
        upkeep.settle(video.video for video in videos)
    for upkeep in upkeeps:
        entries = (upkeep.ledger.entry(video.video) for video in videos)
        report_failures(entries, upkeep.folder / _named(FAILURES, scope.shard), max_failed_fraction)


def _alone(work: Callable[[Job], Outcome], due: StaleItem) -> Sequence[Outcome]:
    return [work(job) for job in due if job]


def _due(videos: Iterable[Video], upkeeps: Sequence["_Upkeep"], retry_failed: bool) -> Iterator[StaleItem]:
    """A video's jobs from the first that is not done; None in the place of those before."""
    for video in videos:
        jobs = [upkeep.job_of(video) for upkeep in upkeeps]
        done = [upkeep.is_done(job, retry_failed) for job, upkeep in zip(jobs, upkeeps, strict=True)]
        if not all(done):
            yield tuple(None if all(done[: place + 1]) else job for place, job in enumerate(jobs))


def _video_of(due: StaleItem) -> Video:
    return next(job for job in due if job).video


def _claimed(due: Iterable[StaleItem], upkeeps: Sequence["_Upkeep"]) -> Iterator[StaleItem]:
    for jobs in due:
        for job, upkeep in zip(jobs, upkeeps, strict=True):
            if job:
                upkeep.claim(job)
        yield jobs


def shard_ledgers(folder: Path) -> list[Path]:
    """Those of shards that no run without `--shard` has merged yet."""
    return sorted(folder.glob("ledger.*-of-*.jsonl"))


class _Upkeep:
    """A stage's folder and the ledger of what is in it, or a shard's of its part."""

    def __init__(self, part: Part, shard: Shard | None) -> None:
        self.folder, self.job_of, self.shard = part.folder, part.job_of, shard
        self.claimed = DiskDict()  # outputs, of all videos that were begun
        self.emptied: set[str] = set()  # folders that outputs were removed from
        self.ledger = Ledger(self.folder / _named(LEDGER, shard), known=Ledger(self.folder / LEDGER).entries if shard else {})
        self._sweep()
        if not shard and (shards := shard_ledgers(self.folder)):
            self._merge(shards)
            self._sweep()

    def place(self, output: str) -> Path:
        return within(self.folder, output)

    def _sweep(self) -> None:
        """What a run that was killed had begun. Without a shard that goes for the tables of all shards too."""
        for file in (LEDGER, FAILURES):
            stem, suffix = os.path.splitext(_named(file, self.shard))
            for leftover in self.folder.glob(f".{stem}.*{ASIDE}{suffix}"):
                remove(leftover)
        entries = self.ledger.entries.values()
        sweep(self.place(output) for entry in entries if entry["key"] == BEGUN for output in _outputs(entry))

    def _merge(self, shards: Sequence[Path]) -> None:
        """The shards' word counts: they began after the last merge. The ledger has it all before the first of theirs goes."""
        for name, entry in _entries_of(shards).items():
            self._remove_others(name, _outputs(entry))
            self.ledger.entries[name] = entry
        self.ledger.settle(self.ledger.entries)
        for path in shards:
            remove(path.with_name(path.name.replace("ledger", "failures", 1)).with_suffix(".csv"))
            remove(path)

    def refuse_other_corpus(self, videos: Iterable[Video]) -> None:
        """Settling would delete what it left here. A corpus that was moved is the same one: its videos have the same keys."""
        entries = self.ledger.entries or self.ledger.known
        if not entries or any(map(self._is_of_this_corpus, videos)):
            return
        held, wanted = (_common_folder(files) for files in (_files_of(entries.values()), (video.path for video in videos)))
        raise UserError(
            f"{self.folder} holds the results for {len(entries)} videos of {held}, but this run is about {wanted}; choose "
            "another folder (--output_path, --boxes_path), or add --replace to delete the results that are there"
        )

    def _is_of_this_corpus(self, video: Video) -> bool:
        entry = self.ledger.entry(video.video)
        return bool(entry) and (entry.get("file") == video.path or entry["key"] == self.job_of(video).key)

    def is_done(self, job: Job, retry_failed: bool) -> bool:
        entry = self.ledger.entry(job.video.video)
        if entry.get("key") != job.key or (retry_failed and "reason" in entry):
            return False
        return all(self.place(output).exists() for output in _outputs(entry))

    def claim(self, job: Job) -> None:
        """Its outputs, old ones of the video among them."""
        name = job.video.video
        before = _outputs(self.ledger.entry(name))
        self.ledger.record(**_begun(name, job.video.path, (*before, *job.outputs)))
        self.claimed.update(dict.fromkeys(job.outputs, name))

    def record(self, outcome: Outcome) -> None:
        video = outcome.job.video
        self._remove_others(video.video, outcome.outputs)
        self.ledger.record(video.video, outcome.job.key, file=video.path, outputs=outcome.outputs, **outcome.facts)

    def settle(self, videos: Iterable[str]) -> None:
        """Forgets all other videos, with their outputs. A shard does not: they may be another's."""
        if self.shard:
            self.ledger.settle(self.ledger.entries)
            return
        names = DiskDict((name, "") for name in videos)
        for name in self.ledger.entries:
            if name not in names:
                self._remove_others(name, ())
        self._remove_emptied()
        self.ledger.settle(names)

    def _remove_others(self, name: str, outputs: Sequence[str]) -> None:
        for output in _outputs(self.ledger.entry(name)):
            if output not in outputs:
                remove(self.place(output))
                self.emptied.add(os.path.dirname(output))

    def _remove_emptied(self) -> None:
        if is_in_bucket(self.folder):  # which has no folders but in the names of what is in it
            return
        above = Path(os.path.abspath(self.folder)).parent
        for place in self.emptied:
            below = Path(os.path.abspath(self.folder / place))
            top = below.relative_to(above).parts[0]  # the stage's folder, or the one beside it
            remove_empty_folders(below, above / top)


def _entries_of(shards: Sequence[Path]) -> Entries:
    """Where shards of different counts, or settings, tell otherwise of a video, nobody knows which of them wrote last."""
    entries = Entries()
    for path in shards:
        for name, entry in Ledger(path).entries.items():
            other = entries.get(name, entry)
            entries[name] = entry if other == entry else _begun(name, entry["file"], (*_outputs(other), *_outputs(entry)))
    return entries


def _common_folder(files: Iterable[str]) -> str:
    """The deepest folder that holds them all, for a message."""
    common: list[str] | None = None
    for file in files:
        folders = file.split("/")[:-1]
        pairs = zip(folders if common is None else common, folders, strict=False)
        common = [name for name, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "no videos" if common is None else "/".join(common) or "several folders"


def _files_of(entries: Iterable[Entry]) -> Iterator[str]:
    return (entry.get("file", "") for entry in entries)


def _outputs(entry: Entry) -> Sequence[str]:
    return entry.get("outputs", ())


def _begun(name: str, file: str, outputs: Iterable[str]) -> Entry:
    return {"name": name, "key": BEGUN, "file": file, "outputs": sorted(set(outputs))}


def _lost(due: StaleItem, how: str) -> Sequence[Outcome | None]:
    reason = f"the process that worked on it ended each time it was tried ({how})"
    remedy = "if memory ran short, lower workers and add --retry-failed; else take the video out of the data"
    return [failure(job, reason, remedy) if job else None for job in due]


def _named(file: str, shard: Shard | None) -> str:
    return shard.name_of(file) if shard else file
