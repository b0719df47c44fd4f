"""What a file is, whatever its name says: the hash of its bytes, how long it plays, or why it cannot be opened.

Files are looked at in processes of their own, so one that hangs or crashes the library costs nothing but itself. What
was found out is remembered in a cache by path, size and time of change. The cache is no output: it spares time, never
decides a result, and may be deleted at any time.
"""

import json
import resource
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import av

from pipeline.buckets import local_copy
from pipeline.ledger import content_hash
from pipeline.outputs import write_text
from pipeline.progress import track
from pipeline.project import absolute
from pipeline.workers import map_unordered

OPENING_LIMIT = 20  # seconds
MEMORY_LIMIT_MB = 3000  # of address space, of which Python and the library take some hundreds


class HoldsNoVideo(Exception):
    """Sound alone, or text."""


@dataclass(frozen=True)
class Facts:
    content: str  # hash of the bytes; empty if they cannot be read
    seconds: float = 0.0
    problem: str = ""  # why it cannot be opened
    has_pictures: bool = True  # as far as is known; two pages that say "not found" are no copies of a video


@dataclass(frozen=True)
class Stamp:
    """As long as these are the same, so are the bytes."""

    file: str
    size: int
    mtime_ns: int


def facts_of(paths: Sequence[Path], cache: Path, workers: int) -> dict[Path, Facts]:
    known = _read_cache(cache)
    stamps = {path: _stamp_of(path) for path in paths}
    new = [path for path, stamp in stamps.items() if known.get(stamp.file, (None,))[0] != stamp]
    if new:
        looked_at = map_unordered(look_at, new, min(workers, len(new)), _limit_memory, died=_note_death)
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.open("a", encoding="utf-8") as file:
            for path, facts in track(looked_at, len(new), "looking at files", "files"):
                known[stamps[path].file] = stamps[path], facts
                file.write("\n" + _line(stamps[path], facts))  # a cut line before it must not swallow this one
                file.flush()
        write_text(cache, "".join(_line(*known[name]) for name in sorted(known)))
    return {path: known[stamp.file][1] for path, stamp in stamps.items()}


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_MB << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look_at(path: Path) -> tuple[Path, Facts]:
    try:
        with local_copy(path) as file:
            return path, _facts_of(file)
    except OSError as error:
        return path, Facts("", problem=f"it cannot be read ({error.strerror})", has_pictures=False)


def _facts_of(file: Path) -> Facts:
    content = content_hash(file)
    if not file.stat().st_size:
        return Facts(content, problem="it is empty", has_pictures=False)
    signal.alarm(OPENING_LIMIT)  # which ends the process: the library heeds nothing softer
    try:
        return Facts(content, _seconds_of(file))
    except MemoryError:
        return Facts(content, problem="opening it takes too much memory")
    except av.FFmpegError as error:
        reason = f"it cannot be opened as a video or picture ({error.strerror})"
        return Facts(content, problem=reason, has_pictures=False)
    except HoldsNoVideo:
        return Facts(content, problem="it holds no video", has_pictures=False)
    finally:
        signal.alarm(0)


def _seconds_of(path: Path) -> float:
    """Raises if it cannot be opened, or holds no video. Nothing is decoded."""
    # A text that names other places is no video, whatever its suffix: nothing may be fetched from them.
    with av.open(str(path), metadata_errors="ignore", options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise HoldsNoVideo
        stream = container.streams.video[0]
        if container.duration:
            return max(0.0, container.duration / av.time_base)
        return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def _note_death(path: Path, how: str) -> tuple[Path, Facts]:
    why = f"takes more than {OPENING_LIMIT} seconds" if how == "SIGALRM" else f"crashes the library ({how})"
    return path, Facts(content_hash(path), problem=f"opening it {why}")


def _stamp_of(path: Path) -> Stamp:
    stat = path.stat()
    return Stamp(str(absolute(path)), stat.st_size, stat.st_mtime_ns)


def _line(stamp: Stamp, facts: Facts) -> str:
    return json.dumps({**asdict(stamp), **asdict(facts)}) + "\n"


def _read_cache(cache: Path) -> dict[str, tuple[Stamp, Facts]]:
    known = {}
    for line in cache.read_text(encoding="utf-8", errors="replace").splitlines() if cache.is_file() else ():
        try:
            entry = json.loads(line)
            stamp = Stamp(entry["file"], entry["size"], entry["mtime_ns"])
            known[stamp.file] = stamp, Facts(*(entry[field.name] for field in fields(Facts)))
        except (ValueError, KeyError, TypeError):
            continue  # the line that was being written when the command was killed
    return known
