"""Hostile requests: broken files, polyglot files, names that are paths, and bodies that never end."""

import gzip
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Project
from little_server import Server, serving
from little_videos import numbered, write_video
from strange_videos import write_corpus

from explain_deepfakes.serving.api.jobs import MARKER

SECRET = "a line that is nobody's business"
NAMES = [
    "../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "C:\\x.mp4",
    "a\x00b.mp4",
    "Set-Cookie:",
    "~/.ssh/id",
    "$(touch&evil)",
    "`touch&evil`",
    ";touch",
    "|touch",
    "<script>alert(1)</script>.mp4",
    "{{7*7}}.mp4",
    "%n%s%x",
    "\u202egpj.exe",
    "con",
    ".",
    "..",
    "...",
    "-i",
    "--help",
    "file:///etc/passwd",
    "pipe:0",
    "http://127.0.0.1/x.mp4",
    "concat:/etc/passwd|/etc/hosts",
    "%2e%2e%2f",
    "名前.mp4",
    "é.mp4",
    "';DROP",
] + ["", " ", "\t", "x" * 390]
ELSEWHERE = (
    "#EXTM3U\n#EXTINF:1,\n{}\n",
    '#EXTM3U\n#EXT-X-MAP:URI="{}"\n#EXTINF:1,\n{}\n',
    "ffconcat version 1.0\nfile '{}'\n",
    "[playlist]\nFile1={}\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na={}\n",
    '<?xml version="1.0"?><MPD><Period><BaseURL>{}</BaseURL></Period></MPD>',
    "<svg><image href='{}'/></svg>",
    '<!DOCTYPE x [<!ENTITY a SYSTEM "{}">]><x>&a;</x>',
    "push graphic-context\nimage over 0,0 0,0 '{}'\n",
)
REQUESTS = (
    "GARBAGE\r\n\r\n",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\n" + "X: " + "y" * 100_000 + "\r\n\r\n",
    "POST /api/jobs HTTP/9.9\r\n\r\n",
    "GET /" + "a" * 70_000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + "abc",
)
RANGES = (
    "bytes=0-",
    "bytes=-5",
    "bytes=5-1",
    "bytes=999999999999-",
    "bytes=a-b",
    "bytes=0-0," * 500 + "1-1",
    "lines=1-2",
    "bytes=",
)


@pytest.fixture(scope="module")
def server_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything that the server may write to."""
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def server(finished: Project, server_root: Path) -> Iterator[Server]:
    (server_root / "tmp").mkdir()
    flags = ("--max_upload_mb", 1, "--max_seconds", 5, "--seconds_between_bytes", 1, "--max_queued", 1000, "--deadline", 60)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TMPDIR", str(server_root / "tmp"))
        with serving(finished.folder, *flags, "--jobs", server_root / "jobs") as running:
            yield running


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", [numbered(index) for index in range(8)]).read_bytes()


def two_things(video: bytes, secret: Path) -> Iterator[bytes]:
    """Yield files that different readers interpret differently, or that refer to other files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", b"\0" * 10_000_000)
    page = b"<!doctype html><script>alert(1)</script>"
    for second in (
        archive.getvalue(),
        gzip.compress(b"\0" * 10_000_000),
        page,
        b"%PDF-1.4\n",
        b"\x7fELF",
        b"MZ",
        b"#!/bin/sh\ntouch evil\n",
    ):
        yield second
        yield video + second
        yield second + video
    box = struct.pack(">I4s", 8 + len(page), b"free") + page
    yield box + video
    yield b"GIF89a/*" + page + b"*/=1;"
    for form in ELSEWHERE:
        for target in (secret, f"file://{secret}", "http://127.0.0.1:1/x.mp4", f"concat:{secret}", "/dev/zero", "/dev/stdin"):
            yield form.format(target, target).encode()


def test_whatever_is_sent_is_answered_in_words_and_stays_in_its_place(
    server: Server, server_root: Path, video: bytes, finished: Project, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    corpus = [path.read_bytes() for path in sorted(files_of(write_corpus_in(tmp_path)))]
    hostile = [(f"{number}.mp4", body) for number, body in enumerate([*corpus, *two_things(video, tmp_path / "secret")])]
    hostile += [(name, video) for name in NAMES]
    assert len(hostile) >= 300
    before = [everything_below(folder) for folder in (finished.folder, server_root)]
    with ThreadPoolExecutor(4) as senders:
        answers = list(
            senders.map(
                lambda upload: server.request("POST", f"/api/jobs?name={quote(upload[0], safe='')}", upload[1]), hostile
            )
        )
    for (name, _), answer in zip(hostile, answers, strict=True):
        assert answer.status in (202, 400, 408, 413, 415, 422), (name, answer)
        assert answer.status == 202 or answer.problem
        assert SECRET.encode() not in answer.body
    accepted = [answer.json()["links"]["self"] for answer in answers if answer.status == 202]
    assert len(accepted) > 60
    for link in accepted:
        job = server.wait_until_over(link)
        assert job["state"] in ("done", "failed"), job
        assert job["state"] == "done" or len(job["error"].split()) > 2
        assert SECRET not in str(job)
    for link, byte_range in zip(accepted[:: len(accepted) // len(RANGES)], RANGES, strict=False):
        for name in ("video", "report", "result"):
            assert server.get(f"{link}/{name}", Range=byte_range).status < 500
    for link in accepted:
        assert server.request("DELETE", link).status == 204
    assert [everything_below(folder) for folder in (finished.folder, server_root)] == before


def write_corpus_in(folder: Path) -> Path:
    write_corpus(folder / "corpus")
    return folder / "corpus/real"


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and path.stat().st_size < 2_000_000)


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("payload", REQUESTS, ids=range(len(REQUESTS)))
def test_what_is_not_http_is_refused_and_nothing_is_left(server: Server, server_root: Path, payload: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(payload.encode())
        answer = line.recv(10_000)
    assert not answer.startswith(b"HTTP/1.1 5")
    assert server.get("/health").status == 200
    assert is_soon_empty(server_root / "jobs")


def is_soon_empty(folder: Path) -> bool:
    ends = time.monotonic() + 10
    while (left := everything_below(folder) - {MARKER}) and time.monotonic() < ends:
        time.sleep(0.05)
    return not left


def test_a_sender_who_hangs_up_leaves_nothing(server: Server, server_root: Path, video: bytes) -> None:
    for share in (0, 1, len(video) // 2):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
            head = f"POST /api/jobs?name=half.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(video)}\r\n\r\n"
            line.sendall(head.encode() + video[:share])
    assert is_soon_empty(server_root / "jobs")


def test_the_description_of_the_api_is_kept_to(server: Server, tmp_path: Path) -> None:
    """Schemathesis derives valid and invalid requests from the schema, and checks the responses."""
    address = f"http://127.0.0.1:{server.port}/openapi.json"
    # A schema cannot say which bytes are a video, so a request that fits it may be refused.
    checks = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
    examples = os.environ.get("API_EXAMPLES", "15")
    options = ("--max-examples", examples, "--seed", "1", "--request-timeout", "30", "--generation-database", "none")
    command = [shutil.which("schemathesis") or f"{sys.prefix}/bin/schemathesis", "run", address, *checks, *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-6000:]
