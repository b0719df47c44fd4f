"""Keep the outputs of a stage up to date, video by video: process new and stale videos, remove outputs of vanished ones.

The outputs of a video are claimed in the ledger before they are written. A killed run can therefore resume, leaves no file
without an owner, and ends with the same bytes as a run that was never interrupted.

A shard processes its share of the videos independently of the others: it writes a ledger of its own, and removes nothing that
may belong to another shard. A run without `--shard` merges the ledgers of all shards before it does anything else.
"""

import hashlib
import json
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path

from explain_deepfakes.pipeline.buckets import is_in_bucket, join_path
from explain_deepfakes.pipeline.disk_dict import DiskDict
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.ledger import Entries, Entry, Ledger, report_failures
from explain_deepfakes.pipeline.outputs import (
    PART_SUFFIX,
    remove,
    remove_empty_folders,
    remove_leftovers,
    write_json_if_changed,
)
from explain_deepfakes.pipeline.params import SwitchFlag, TextFlag
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.ray_workers import LOCAL
from explain_deepfakes.pipeline.ray_workers import map_unordered as map_on_ray
from explain_deepfakes.pipeline.workers import map_unordered

LEDGER, FAILURES = "ledger.jsonl", "failures.csv"
BEGUN = "begun"  # key in the ledger of a video whose outputs are being written

SCOPE_FLAGS: dict[str, SwitchFlag | TextFlag] = {
    "shard": TextFlag("i/N: process only the i-th of N shards; run once more without it to merge the finished shards"),
    "retry_failed": SwitchFlag("retry videos that failed before, even if nothing has changed"),
    "ray": SwitchFlag("use Ray for the worker processes (needs the extra `ray`); `workers` is their number"),
    "address": TextFlag("address of a Ray cluster, host:6379 or auto; `workers` is the number in the whole cluster"),
    "replace": SwitchFlag("delete results of another corpus in the output folder, and overwrite files of other software there"),
}


@dataclass(frozen=True)
class Shard:
    number: int  # from 1
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
    """Which videos a run processes, and on which workers."""

    shard: Shard | None = None  # None: all videos
    retry_failed: bool = False
    ray: str | None = None  # address of the Ray cluster; None: processes of this machine
    replace: bool = False  # whether results of another corpus may be deleted

    def holds(self, video: Video) -> bool:
        return not self.shard or self.shard.holds(video.video)


def scope_from_args(args: Namespace) -> Scope:
    """Return the scope that the SCOPE_FLAGS on the command line describe."""
    shard = read_shard(args.shard) if args.shard else None
    ray = args.address or (LOCAL if args.ray else None)
    return Scope(shard, bool(args.retry_failed), ray, bool(args.replace))


@dataclass(frozen=True, slots=True)
class VideoTask:
    video: Video
    key: str  # hash of everything that the result depends on
    outputs: tuple[str, ...]  # files and folders that may be written, relative to the stage's folder


StaleItem = tuple[VideoTask | None, ...]  # the tasks of a video, one for each stage folder; None: that one is up to date


@dataclass(frozen=True)
class Outcome:
    """The result of a task. `reason` and `remedy` among the facts mean that it failed, possibly with some outputs written."""

    task: VideoTask
    outputs: tuple[str, ...]  # the task's outputs that were written
    facts: Mapping[str, object]  # further fields of the ledger entry


def failure(task: VideoTask, reason: str, remedy: str, outputs: tuple[str, ...] = ()) -> Outcome:
    return Outcome(task, outputs, {"reason": reason, "remedy": remedy})


SETTINGS_FILE = "settings.json"
StageSettings = dict[str, dict[str, object]]  # stage -> setting -> value


@dataclass(frozen=True)
class StageFolder:
    """The output folder of a stage, and a function that returns the task of a video, whose outputs go there."""

    folder: Path
    make_task: Callable[[Video], VideoTask]
    settings: StageSettings = field(default_factory=dict)  # its content results from them; written to the folder


@dataclass(frozen=True)
class FilteredVideos:
    """A subset of the videos that can be iterated over repeatedly without holding it in memory."""

    videos: Iterable[Video]
    holds: Callable[[Video], bool]

    def __iter__(self) -> Iterator[Video]:
        return filter(self.holds, self.videos)


def read_settings(folder: Path) -> StageSettings:
    """Return the settings that produced the content of a folder, as far as they are recorded."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    try:
        settings: StageSettings = json.loads(path.read_bytes())
        if all(isinstance(values, dict) for values in settings.values()):
            return settings
    except (ValueError, AttributeError):
        pass
    raise UserError(f"{path} is damaged; delete it, and run the command that filled {folder} again with the same flags")


def update_outputs(
    videos: Iterable[Video],
    stage: StageFolder,
    work: Callable[[VideoTask], Outcome],
    label: str,
    workers: int,
    max_failed_fraction: float,
    scope: Scope,
) -> None:
    """Run the stale tasks. `work` writes the outputs of a task before it returns, and runs in other processes."""
    update_all_outputs(videos, [stage], partial(_run_tasks, work), label, workers, max_failed_fraction, scope)


def update_all_outputs(
    videos: Iterable[Video],
    stages: Sequence[StageFolder],
    work: Callable[[StaleItem], Sequence[Outcome | None]],
    label: str,
    workers: int,
    max_failed_fraction: float,
    scope: Scope,
) -> None:
    """Update the folders of several consecutive stages: `work` runs the tasks of a video for all of them.

    If one stage is stale for a video, later stages are rerun too. The videos are iterated over several times and never held
    in memory, so memory does not depend on their number.
    """
    updaters = [_FolderUpdater(stage, scope.shard) for stage in stages]
    if not scope.replace:
        for updater in updaters:
            updater.refuse_other_corpus(videos)
    for stage in stages:  # now that it is certain that the folders are those of this corpus
        if stage.settings:
            write_json_if_changed(stage.folder / SETTINGS_FILE, stage.settings)
    videos = FilteredVideos(videos, scope.holds)
    stale_names = DiskDict((_video_of(item).video, "") for item in _stale_items(videos, updaters, scope.retry_failed))
    count = len(stale_names)
    stale_videos = FilteredVideos(videos, lambda video: video.video in stale_names) if count else ()
    map_work = partial(map_on_ray, address=scope.ray) if scope.ray else map_unordered
    try:
        items = _claim_each(_stale_items(stale_videos, updaters, scope.retry_failed), updaters)
        with closing(map_work(work, items, workers, on_crash=_crash_outcomes)) as results:
            for outcomes in track(results, count, label, "videos"):
                for updater, outcome in zip(updaters, outcomes, strict=True):
                    if outcome:
                        updater.record(outcome)
    finally:  # remove what crashed or terminated worker processes left unfinished
        for updater in updaters:
            remove_leftovers(map(updater.output_path, updater.claimed))
    for updater in updaters:
        updater.remove_vanished(video.video for video in videos)
    for updater in updaters:
        entries = (updater.ledger.entry(video.video) for video in videos)
        report_failures(entries, updater.folder / _file_name(FAILURES, scope.shard), max_failed_fraction)


def _run_tasks(work: Callable[[VideoTask], Outcome], item: StaleItem) -> Sequence[Outcome]:
    return [work(task) for task in item if task]


def _stale_items(videos: Iterable[Video], updaters: Sequence["_FolderUpdater"], retry_failed: bool) -> Iterator[StaleItem]:
    """Yield the tasks of each stale video: those from its first stale stage on, and None for the stages before."""
    for video in videos:
        tasks = [updater.make_task(video) for updater in updaters]
        current = [updater.is_current(task, retry_failed) for task, updater in zip(tasks, updaters, strict=True)]
        if not all(current):
            yield tuple(None if all(current[: stage + 1]) else task for stage, task in enumerate(tasks))


def _video_of(item: StaleItem) -> Video:
    return next(task for task in item if task).video


def _claim_each(items: Iterable[StaleItem], updaters: Sequence["_FolderUpdater"]) -> Iterator[StaleItem]:
    for item in items:
        for task, updater in zip(item, updaters, strict=True):
            if task:
                updater.claim(task)
        yield item


def shard_ledgers(folder: Path) -> list[Path]:
    """Return the ledgers of shards that are not merged yet."""
    return sorted(folder.glob("ledger.*-of-*.jsonl"))


class _FolderUpdater:
    """A stage's folder and the ledger of its content, or the ledger of a shard."""

    def __init__(self, stage: StageFolder, shard: Shard | None) -> None:
        self.folder, self.make_task, self.shard = stage.folder, stage.make_task, shard
        self.claimed = DiskDict()  # outputs of all videos that were begun
        self.emptied: set[str] = set()  # folders that outputs were removed from
        merged = Ledger(self.folder / LEDGER).entries if shard else {}
        self.ledger = Ledger(self.folder / _file_name(LEDGER, shard), fallback=merged)
        self._remove_leftovers()
        if not shard and (shards := shard_ledgers(self.folder)):
            self._merge(shards)
            self._remove_leftovers()

    def output_path(self, output: str) -> Path:
        return join_path(self.folder, output)

    def _remove_leftovers(self) -> None:
        """Remove what a killed run left unfinished; without a shard, also the unfinished tables of all shards."""
        for file in (LEDGER, FAILURES):
            stem, suffix = os.path.splitext(_file_name(file, self.shard))
            for leftover in self.folder.glob(f".{stem}.*{PART_SUFFIX}{suffix}"):
                remove(leftover)
        entries = self.ledger.entries.values()
        remove_leftovers(self.output_path(output) for entry in entries if entry["key"] == BEGUN for output in _outputs(entry))

    def _merge(self, shards: Sequence[Path]) -> None:
        """Entries of shards win, since they are newer. The merged ledger is complete before any shard's ledger is removed."""
        for name, entry in _shard_entries(shards).items():
            self._remove_other_outputs(name, _outputs(entry))
            self.ledger.entries[name] = entry
        self.ledger.compact(self.ledger.entries)
        for path in shards:
            remove(path.with_name(path.name.replace("ledger", "failures", 1)).with_suffix(".csv"))
            remove(path)

    def refuse_other_corpus(self, videos: Iterable[Video]) -> None:
        """Raise if the folder holds the results of another corpus, since `remove_vanished` would delete them.

        A corpus that was moved counts as the same, because the keys of its videos do not change.
        """
        entries = self.ledger.entries or self.ledger.fallback
        if not entries:
            self._refuse_unrecorded_files(videos)
            return
        if any(map(self._is_of_this_corpus, videos)):
            return
        old, new = (_common_folder(files) for files in (_files_of(entries.values()), (video.path for video in videos)))
        raise UserError(
            f"{self.folder} holds the results for {len(entries)} videos of {old}, but this run is about {new}; choose "
            "another folder (--output_path, --boxes_path), or add --replace to delete the old results"
        )

    def _refuse_unrecorded_files(self, videos: Iterable[Video]) -> None:
        """Raise if a folder without a ledger has a file that this run would overwrite: it may come from other software."""
        if not self.folder.is_dir() or shard_ledgers(self.folder):
            return
        for video in videos:
            for path in map(self.output_path, self.make_task(video).outputs):
                if path.exists():
                    raise UserError(
                        f"{path} exists, but was not made by this command; choose another folder (--output_path, "
                        "--boxes_path), or add --replace to overwrite such files"
                    )

    def _is_of_this_corpus(self, video: Video) -> bool:
        entry = self.ledger.entry(video.video)
        return bool(entry) and (entry.get("file") == video.path or entry["key"] == self.make_task(video).key)

    def is_current(self, task: VideoTask, retry_failed: bool) -> bool:
        entry = self.ledger.entry(task.video.video)
        if entry.get("key") != task.key or (retry_failed and "reason" in entry):
            return False
        return all(self.output_path(output).exists() for output in _outputs(entry))

    def claim(self, task: VideoTask) -> None:
        """Record that the outputs of the task may be unfinished from now on. The video's earlier outputs stay claimed."""
        name = task.video.video
        earlier = _outputs(self.ledger.entry(name))
        self.ledger.record(**_begun_entry(name, task.video.path, (*earlier, *task.outputs)))
        self.claimed.update(dict.fromkeys(task.outputs, name))

    def record(self, outcome: Outcome) -> None:
        video = outcome.task.video
        self._remove_other_outputs(video.video, outcome.outputs)
        self.ledger.record(video.video, outcome.task.key, file=video.path, outputs=outcome.outputs, **outcome.facts)

    def remove_vanished(self, videos: Iterable[str]) -> None:
        """Remove all other videos and their outputs. A shard does not, since they may belong to another shard."""
        if self.shard:
            self.ledger.compact(self.ledger.entries)
            return
        names = DiskDict((name, "") for name in videos)
        for name in self.ledger.entries:
            if name not in names:
                self._remove_other_outputs(name, ())
        self._remove_emptied()
        self.ledger.compact(names)

    def _remove_other_outputs(self, name: str, outputs: Sequence[str]) -> None:
        """Remove the recorded outputs of a video except these."""
        for output in _outputs(self.ledger.entry(name)):
            if output not in outputs:
                remove(self.output_path(output))
                self.emptied.add(os.path.dirname(output))

    def _remove_emptied(self) -> None:
        if is_in_bucket(self.folder):  # a bucket has no folders of its own, only names of objects
            return
        above = Path(os.path.abspath(self.folder)).parent
        for emptied in self.emptied:
            path = Path(os.path.abspath(self.folder / emptied))
            top = path.relative_to(above).parts[0]  # the stage's folder or a sibling of it
            remove_empty_folders(path, above / top)


def _shard_entries(shards: Sequence[Path]) -> Entries:
    """Return the entries of all shards.

    Where two shards (of different shard counts or settings) disagree on a video, nobody knows which of them wrote last: the
    video becomes stale, and owns the outputs of both.
    """
    entries = Entries()
    for path in shards:
        for name, entry in Ledger(path).entries.items():
            earlier = entries.get(name, entry)
            outputs = (*_outputs(earlier), *_outputs(entry))
            entries[name] = entry if earlier == entry else _begun_entry(name, entry["file"], outputs)
    return entries


def _common_folder(files: Iterable[str]) -> str:
    """Return the deepest folder that holds all files, for a message."""
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


def _begun_entry(name: str, file: str, outputs: Iterable[str]) -> Entry:
    return {"name": name, "key": BEGUN, "file": file, "outputs": sorted(set(outputs))}


def _crash_outcomes(item: StaleItem, cause: str) -> Sequence[Outcome | None]:
    reason = f"the worker process crashed each time on this video ({cause})"
    remedy = "if memory ran short, lower workers and add --retry-failed; otherwise remove the video from the data"
    return [failure(task, reason, remedy) if task else None for task in item]


def _file_name(file: str, shard: Shard | None) -> str:
    return shard.name_of(file) if shard else file
