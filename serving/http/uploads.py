"""What comes in over the wire -> a file in a job's folder, or a refusal in words. Nothing a sender says is trusted."""

import asyncio
import re
import time
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from preprocessing.video.video import Reading, UnreadableVideo, scan
from serving.http.problems import Problem

MOST_NAME = 120  # characters


async def receive(
    stream: AsyncIterator[bytes], path: Path, most_bytes: int, seconds_between: float, seconds_in_all: float
) -> int:
    """The body into a file, piece by piece; refused as soon as it is too large, or comes too slowly."""
    count, ends = 0, time.monotonic() + seconds_in_all
    with path.open("xb") as file:
        while True:
            try:
                piece = await asyncio.wait_for(anext(stream, None), min(seconds_between, ends - time.monotonic()))
            except asyncio.TimeoutError:
                if time.monotonic() >= ends:
                    raise Problem(408, f"it was not sent within {seconds_in_all:g} seconds; send a smaller file") from None
                raise Problem(408, f"nothing came for {seconds_between:g} seconds; send the file again") from None
            if piece is None:
                break
            count += len(piece)
            if count > most_bytes:
                raise Problem(413, f"the file has more than {most_bytes / 1e6:g} MB, the most that is taken here")
            await asyncio.to_thread(file.write, piece)
    if not count:
        raise Problem(400, "the file is empty; send it as the body of the request")
    return count


def check(path: Path, reading: Reading, most_seconds: float, most_gigapixels: float) -> None:
    """By the file's own content, and before it is decoded."""
    try:
        facts = scan(path, reading)
    except UnreadableVideo as error:
        raise Problem(415, f"{error.reason}; send a video or a picture") from error
    gigapixels = facts.frames_present * facts.width * facts.height / 1e9
    seconds = facts.frames_present / facts.frame_rate if facts.frame_rate else 0.0
    if seconds > most_seconds:
        raise Problem(413, f"the video lasts {seconds:.0f} seconds; {most_seconds:g} is the most that is taken here: cut it")
    if gigapixels > most_gigapixels:
        raise Problem(413, f"the video has {gigapixels:.1f} billion pixels; {most_gigapixels:g} is the most that is taken here")


def shown_name(name: str) -> str:
    """What a sender calls the file, fit to be shown: no path, nothing that cannot be seen, and not endless."""
    last = PurePosixPath(name.replace("\\", "/")).name
    seen = "".join(letter for letter in unicodedata.normalize("NFC", last) if unicodedata.category(letter)[0] != "C")
    return re.sub(r"\s+", " ", seen).strip()[:MOST_NAME] or "upload"
