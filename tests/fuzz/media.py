"""Fuzz the reading of videos by changing their structure: boxes of MP4, elements of Matroska, chunks of AVI.

    python tests/fuzz/media.py [--seconds 600] [--seed 0] [--output FOLDER]

A changed file is read, or refused in words, within the time limit. Files that break this rule are written to the output
folder. `make fuzz` runs it.
"""

import argparse
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from little_videos import draw_face, plain, reading
from strange_videos import encode

from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import UnreadableVideo, open_video

BASES = {"a.mp4": "libx264", "b.mov": "mpeg4", "c.mkv": "libx264", "d.webm": "libvpx", "e.avi": "mpeg4", "f.gif": "gif"}
MAX_SECONDS_PER_FILE = 60
MP4_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf")
EBML_CONTAINERS = (0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB, 0xB7, 0x114D9B74)
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
Part = tuple[int, int, int]  # offsets of the header, of the content and of the end


def mp4_parts(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Part]:
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        size = size if 8 <= size <= end - start else end - start
        yield start, start + 8, start + size
        if kind in MP4_CONTAINERS:
            yield from mp4_parts(data, start + 8, start + size)
        start += size


def ebml_parts(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Part]:
    end = len(data) if end is None else end
    while start < end:
        kind, content = read_vint(data, start, keep_marker=True)
        size, content = read_vint(data, content)
        stop = min(end, content + size)
        if stop <= start:
            return
        yield start, content, stop
        if kind in EBML_CONTAINERS:
            yield from ebml_parts(data, content, stop)
        start = stop


def read_vint(data: bytes, start: int, keep_marker: bool = False) -> tuple[int, int]:
    """A number of variable length, and the offset behind it."""
    first = data[start] if start < len(data) else 0x80
    length = 9 - first.bit_length() if first else 8
    value = int.from_bytes(data[start : start + length])
    return value if keep_marker else value & ((1 << 7 * length) - 1), start + length


def riff_parts(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Part]:
    end = len(data) if end is None else end
    while start + 8 <= end:
        kind, size = struct.unpack("<4sI", data[start : start + 8])
        stop = min(end, start + 8 + size)
        yield start, start + 8, stop
        if kind in (b"RIFF", b"LIST"):
            yield from riff_parts(data, start + 12, stop)
        start = stop + size % 2


def blocks(data: bytes) -> Iterator[Part]:
    """For formats without a parser here: parts of 16 bytes."""
    yield from ((start, start + 4, min(len(data), start + 16)) for start in range(0, len(data), 16))


PARSERS: dict[str, Callable[[bytes], Iterator[Part]]] = {
    ".mp4": mp4_parts,
    ".mov": mp4_parts,
    ".mkv": ebml_parts,
    ".webm": ebml_parts,
    ".avi": riff_parts,
    ".gif": blocks,
}


def mutate(data: bytes, suffix: str, dice: random.Random) -> bytes:
    """Change one to four parts of the file."""
    for _ in range(dice.randint(1, 4)):
        parts = list(PARSERS[suffix](data))
        if not parts:
            return data
        data = dice.choice(MUTATIONS)(data, dice.choice(parts), dice)
    return data


def change_number(data: bytes, part: Part, dice: random.Random) -> bytes:
    """Overwrite a number within the first 64 bytes of a part, its size included."""
    start, _, end = part
    width = dice.choice((1, 2, 4, 8))
    offset = dice.randrange(start, max(start + 1, min(end - width, start + 64)))
    value = dice.choice((*EDGES, dice.getrandbits(32))) & ((1 << 8 * width) - 1)
    return data[:offset] + value.to_bytes(width, dice.choice(("big", "little"))) + data[offset + width :]


def remove(data: bytes, part: Part, dice: random.Random) -> bytes:
    return data[: part[0]] + data[part[2] :]


def repeat(data: bytes, part: Part, dice: random.Random) -> bytes:
    return data[: part[2]] + data[part[0] : part[2]] * dice.choice((1, 2, 50)) + data[part[2] :]


def empty(data: bytes, part: Part, dice: random.Random) -> bytes:
    return data[: part[1]] + bytes(max(0, part[2] - part[1])) + data[part[2] :]


def truncate(data: bytes, part: Part, dice: random.Random) -> bytes:
    return data[: dice.randint(*sorted((part[0], part[2])))]


MUTATIONS = (change_number, change_number, change_number, remove, repeat, empty, truncate)


def examine(path: Path, params: ReadingParams) -> str:
    """Read the file as the stages do. Return what became of it."""
    try:
        with open_video(path, params) as video:
            frames = sum(1 for _ in video.frames(range(0, video.facts.frames_present, 3), 64))
        return "read" if frames else "read, without a frame"
    except UnreadableVideo as error:
        return "the decoder crashed" if "killed by" in error.reason else "refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz_findings"))
    args = parser.parse_args()
    dice, outcomes, findings = random.Random(args.seed), Counter[str](), 0
    params = replace(reading(), max_seconds_stuck=20)
    with tempfile.TemporaryDirectory() as folder:
        bases = {}
        for name, codec in BASES.items():
            pictures = [draw_face(plain(200), 60 + 4 * index, 60) for index in range(12)]
            encode(Path(folder) / name, codec, pictures, "rgb8" if codec == "gif" else "yuv420p")
            bases[name] = (Path(folder) / name).read_bytes()
        end = time.monotonic() + args.seconds
        while time.monotonic() < end:
            name = dice.choice(list(bases))
            path = Path(folder) / f"changed{Path(name).suffix}"
            path.write_bytes(mutate(bases[name], path.suffix, dice))
            begun, problem = time.monotonic(), ""
            try:
                outcome = examine(path, params)
            except Exception as error:  # noqa: BLE001 - any other one is a finding
                problem = outcome = f"{type(error).__name__}: {error}"
            if time.monotonic() - begun > MAX_SECONDS_PER_FILE:
                problem = f"it took {time.monotonic() - begun:.0f} s"
            outcomes[outcome] += 1
            if problem or outcome == "the decoder crashed":
                args.output.mkdir(exist_ok=True)
                kept = args.output / f"{sum(outcomes.values())}{path.suffix}"
                kept.write_bytes(path.read_bytes())
                print(f"{kept}: {problem or outcome}", flush=True)
            findings += bool(problem)
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    sys.exit(f"{findings} files broke the rule; they are in {args.output}" if findings else 0)


if __name__ == "__main__":
    main()
