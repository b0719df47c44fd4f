"""A process that decodes files cannot harm the machine, whatever a file makes it do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from little_videos import numbered, reading, write_video

from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.video.sandbox import MACHINES, clean_environment
from explain_deepfakes.preprocessing.video.video import read_frames

is_linux = pytest.mark.skipif(sys.platform != "linux", reason="system calls are filtered on Linux only")
ATTEMPTS = {
    "write a file": "open('stolen', 'w')",
    "append to a file": "open('mine.txt', 'a')",
    "delete a file": "os.unlink('mine.txt')",
    "rename a file": "os.rename('mine.txt', 'other.txt')",
    "make a folder": "os.mkdir('folder')",
    "make a link": "os.symlink('/etc/passwd', 'link')",
    "change a mode": "os.chmod('mine.txt', 0o777)",
    "truncate a file": "os.truncate('mine.txt', 0)",
    "open a socket": "socket.socket()",
    "open a local socket": "socket.socket(socket.AF_UNIX)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "kill its parent": "os.kill(os.getppid(), 15)",
}
ALLOWED = {
    "read a file": "open('mine.txt').read()",
    "start a thread": "[thread := threading.Thread(target=print), thread.start(), thread.join()]",
    "import a library": "__import__('numpy').ones(3)",
    "use memory": "os.write(os.memfd_create('log'), b'some words')",
}


def attempt(folder: Path, code: str) -> str:
    """Run the code in a confined process; returns the error, or `done`."""
    script = (
        "import os, socket, threading\n"
        "from explain_deepfakes.preprocessing.video.sandbox import confine\n"
        "assert confine()\n"
        f"try:\n    {code}\n"
        "except OSError as error:\n    print(type(error).__name__)\n"
        "else:\n    print('done')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(CODE)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.txt").write_text("mine")
    return tmp_path


@is_linux
@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_confined_process_cannot(folder: Path, name: str) -> None:
    assert attempt(folder, ATTEMPTS[name]) == "PermissionError"
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert (folder / "mine.txt").read_text() == "mine"


@is_linux
@pytest.mark.parametrize("name", ALLOWED)
def test_a_confined_process_can(folder: Path, name: str) -> None:
    assert attempt(folder, ALLOWED[name]) == "done"


def test_secrets_do_not_reach_a_decoder() -> None:
    environment = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "t", "LC_ALL": "C", "PYTHONPATH": "/code"}
    assert clean_environment(environment) == {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "/code"}


def test_a_confined_decoder_reads_videos(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", map(numbered, range(5)))
    assert len(list(read_frames(video, None, reading()))) == 5


def test_no_number_of_a_call_that_decoding_needs_is_refused() -> None:
    needed = {"x86_64": {0, 1, 2, 3, 9, 10, 11, 56, 202, 257, 319}, "aarch64": {56, 57, 63, 64, 98, 215, 220, 222, 226, 279}}
    for name, machine in MACHINES.items():
        assert not needed[name] & set(machine.refused)
