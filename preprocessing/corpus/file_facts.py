"""Facts about video files, independent of their names: the hash of the content, the duration, or why a file cannot be opened.

Files are opened in worker processes, so that one that hangs or crashes the library does not stop the command. The facts are
cached by path, size and modification time. The cache only saves time: it never changes a result and may be deleted.
"""

import json
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import av

from explain_deepfakes.pipeline.buckets import local_copy
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_text
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.pipeline.project import absolute
from explain_deepfakes.pipeline.workers import map_unordered
from explain_deepfakes.preprocessing.video.container import open_container, shown_stream
from explain_deepfakes.preprocessing.video.frame_folders import hash_folder, list_frames

OPEN_TIMEOUT = 20  # seconds
MEMORY_LIMIT_MB = 3000  # of address space; Python and the library take some hundreds of it


class HoldsNoVideo(Exception):
    """The file has no video stream: it is only sound, or text."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    content: str  # hash of the content; empty if the file cannot be read
    seconds: float = 0.0
    problem: str = ""  # why it cannot be opened
    frame_rate: float = 0.0  # 0 if it is unknown
    has_pictures: bool = True  # as far as known; two HTML pages "not found" do not count as copies of a video


@dataclass(frozen=True, slots=True)
class Stamp:
    """The content of a file is taken as unchanged as long as these are."""

    file: str
    size: int
    mtime_ns: int


def read_file_facts(paths: Sequence[Path], cache: Path, workers: int) -> dict[Path, FileFacts]:
    cached = _read_cache(cache)
    stamps = {path: _stamp_of(path) for path in paths}
    new = [path for path, stamp in stamps.items() if cached.get(stamp.file, (None,))[0] != stamp]
    if new:
        results = map_unordered(inspect_file, new, min(workers, len(new)), _limit_memory, on_crash=_crash_facts)
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.open("a", encoding="utf-8") as file:
            for path, facts in track(results, len(new), "inspecting files", "files"):
                cached[stamps[path].file] = stamps[path], facts
                file.write("\n" + _line(stamps[path], facts))  # begins on a new line, in case the line before is truncated
                file.flush()
        write_text(cache, "".join(_line(*cached[name]) for name in sorted(cached)))
    return {path: cached[stamp.file][1] for path, stamp in stamps.items()}


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_MB << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def inspect_file(path: Path) -> tuple[Path, FileFacts]:
    try:
        if path.is_dir():
            return path, _inspect_frames(path)
        with local_copy(path) as file:
            return path, _inspect_copy(file)
    except OSError as error:
        return path, FileFacts("", problem=f"it cannot be read ({error.strerror})", has_pictures=False)


def _inspect_frames(folder: Path) -> FileFacts:
    """The facts of a folder of frames: its first frame stands for all."""
    first = _inspect_copy(list_frames(folder)[0])
    return FileFacts(hash_folder(folder), problem=first.problem, has_pictures=first.has_pictures)


def _inspect_copy(file: Path) -> FileFacts:
    content = content_hash(file)
    if not file.stat().st_size:
        return FileFacts(content, problem="it is empty", has_pictures=False)
    signal.alarm(OPEN_TIMEOUT)  # kills the process, since the library cannot be interrupted in any other way
    try:
        seconds, frame_rate = _read_times(file)
        return FileFacts(content, seconds, frame_rate=frame_rate)
    except MemoryError:
        return FileFacts(content, problem="opening it needs too much memory")
    except av.FFmpegError as error:
        reason = f"it cannot be opened as a video or picture ({error.strerror})"
        return FileFacts(content, problem=reason, has_pictures=False)
    except HoldsNoVideo:
        return FileFacts(content, problem="it holds no video", has_pictures=False)
    finally:
        signal.alarm(0)


def _read_times(path: Path) -> tuple[float, float]:
    """Return the duration in seconds and the frame rate, without decoding.

    Raises if the file cannot be opened, or holds no video.
    """
    with open_container(str(path)) as container:
        stream = shown_stream(container)
        if not stream:
            raise HoldsNoVideo
        rate = round(float(stream.average_rate or 0), 4)
        if container.duration:
            return max(0.0, container.duration / av.time_base), rate
        return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0, rate


def _crash_facts(path: Path, cause: str) -> tuple[Path, FileFacts]:
    problem = f"takes more than {OPEN_TIMEOUT} seconds" if cause == "SIGALRM" else f"crashes the library ({cause})"
    return path, FileFacts(content_hash(path), problem=f"opening it {problem}")


def _stamp_of(path: Path) -> Stamp:
    stats = [frame.stat() for frame in list_frames(path)] if path.is_dir() else [path.stat()]
    return Stamp(str(absolute(path)), sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats))


def _line(stamp: Stamp, facts: FileFacts) -> str:
    return json.dumps({field.name: getattr(record, field.name) for record in (stamp, facts) for field in fields(record)}) + "\n"


def _read_cache(cache: Path) -> dict[str, tuple[Stamp, FileFacts]]:
    cached = {}
    for line in cache.read_text(encoding="utf-8", errors="replace").splitlines() if cache.is_file() else ():
        try:
            entry = json.loads(line)
            stamp = Stamp(entry["file"], entry["size"], entry["mtime_ns"])
            cached[stamp.file] = stamp, FileFacts(*(entry[field.name] for field in fields(FileFacts)))
        except (ValueError, KeyError, TypeError):
            continue  # truncated when a command was killed
    return cached
