"""Uploads: the body of a request -> a checked file in a job's folder, or an error message. Nothing from a client is trusted.

`accept_upload` in state.py calls it; the limits are in the section `serve` of params.yaml.
"""

import asyncio
import re
import threading
import time
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import Deadline, UnreadableVideo, probe_video
from explain_deepfakes.serving.api.params import ServerParams
from explain_deepfakes.serving.api.problems import Problem

MAX_NAME_LENGTH = 120  # characters


async def receive(
    stream: AsyncIterator[bytes], path: Path, max_bytes: int, max_seconds_between: float, max_seconds: float
) -> int:
    """Write the body to a file in chunks; refuse it as soon as it is too large or too slow."""
    count, deadline = 0, time.monotonic() + max_seconds
    with path.open("xb") as file:
        while True:
            try:
                timeout = min(max_seconds_between, deadline - time.monotonic())
                chunk = await asyncio.wait_for(anext(stream, None), timeout)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise Problem(408, f"the upload took more than {max_seconds:g} seconds; send a smaller file") from None
                raise Problem(408, f"no data arrived for {max_seconds_between:g} seconds; send the file again") from None
            if chunk is None:
                break
            count += len(chunk)
            if count > max_bytes:
                raise Problem(413, f"the file has more than {max_bytes / 1e6:g} MB, the limit of this server")
            await asyncio.to_thread(file.write, chunk)
    if not count:
        raise Problem(400, "the file is empty; send it as the body of the request")
    return count


def check_limits(path: Path, reading: ReadingParams, params: ServerParams, is_cancelled: threading.Event) -> None:
    """Refuse a file that is no video or picture, or too long or large, by its content and before it is examined."""
    max_seconds, max_gigapixels = params.max_seconds, params.max_gigapixels
    try:
        facts = probe_video(path, reading, Deadline(params.seconds_to_check, is_cancelled))
    except UnreadableVideo as error:
        raise Problem(415, f"{error.reason}; send a video or a picture") from error
    gigapixels = facts.frames_present * facts.width * facts.height / 1e9
    seconds = facts.frames_present / facts.frame_rate if facts.frame_rate else 0.0
    if seconds > max_seconds:
        raise Problem(413, f"the video lasts {seconds:.0f} seconds; the limit of this server is {max_seconds:g}: cut it")
    if gigapixels > max_gigapixels:
        pixels = f"{gigapixels:.1f} billion pixels"
        raise Problem(413, f"the video has {pixels}; the limit of this server is {max_gigapixels:g}: cut it")


def display_name(name: str) -> str:
    """The client's file name, safe to display: without folders and control characters, and shortened."""
    last = PurePosixPath(name.replace("\\", "/")).name
    visible = "".join(letter for letter in unicodedata.normalize("NFC", last) if unicodedata.category(letter)[0] != "C")
    return re.sub(r"\s+", " ", visible).strip()[:MAX_NAME_LENGTH] or "upload"
