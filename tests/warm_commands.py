"""Run the project's commands as a user does, but in processes forked from one that has imported the large libraries.

Otherwise the same imports would take most of the tests' time. The project's own code is not imported
beforehand, and no state of a command is left for the next. Processes that a command starts are forked from one that
has imported the same libraries.
"""

import atexit
import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import arbitrary_address
from multiprocessing.process import BaseProcess
from pathlib import Path

LARGE = ["torch", "torchvision", "timm", "cv2", "av", "pandas", "matplotlib.pyplot", "scipy.optimize", "sklearn.metrics"]
MOST_SECONDS, MOST_BYTES = 600, 2**17
CLIENT = Path(__file__).with_name("warm_client.py")
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(LARGE)


def run_warm(script: Path, flags: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run([python, script, *flags], cwd=cwd, capture_output=True, text=True)`."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("out", "err")]
        process = WARM.Process(target=_command, args=(str(script), [*flags], str(cwd), dict(os.environ), *map(str, streams)))
        process.start()
        process.join(MOST_SECONDS)
        process.kill()  # if it hangs
        process.join()
        outputs = [stream.read_text() for stream in streams]
    return subprocess.CompletedProcess([str(script), *flags], process.exitcode or 0, *outputs)


def _command(script: str, flags: list[str], cwd: str, environment: dict[str, str], *streams: str) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in enumerate(streams, 1):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))
    _have_workers_forked()
    sys.argv = [script, *flags]
    main = types.ModuleType("__main__")
    main.__file__ = script
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main  # child processes know it by the second name
    try:
        exec(compile(Path(script).read_text(), script, "exec"), main.__dict__)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os.close(forkserver._forkserver._forkserver_alive_fd)
        os.waitpid(forkserver._forkserver._forkserver_pid, 0)


@contextmanager
def warm_python() -> Iterator[str]:
    """Yield a replacement for `python` in command lines that another program runs, as DVC does, in our session."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        address = f"{folder}/socket"
        listener.bind(address)
        listener.listen()
        server = WARM.Process(target=_serve_clients, args=(listener,))
        server.start()
        try:
            yield f"{sys.executable} -SE {CLIENT} {address}"
        finally:
            server.kill()
            server.join()


def _serve_clients(listener: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # they are not waited for
    while True:
        client, _ = listener.accept()
        with client:
            if not os.fork():
                listener.close()
                _answer(client)


def _answer(client: socket.socket) -> None:
    """Run the command in the client's process group, so that killing the group kills the command, too."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message, streams, *_ = socket.recv_fds(client, MOST_BYTES, 2)
        group, cwd, environment, script, *flags = json.loads(message)
        os.setpgid(0, group)
        _command(script, flags, cwd, environment, *(f"/dev/fd/{stream}" for stream in streams))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc(file=os.fdopen(2, "w", closefd=False))
        raise
    finally:
        with suppress(OSError):  # the client may have been killed
            client.send(str(status).encode())
        os._exit(status)


class _WarmWorkers:
    """Spawns only workers with an initializer, since it limits their memory, including imports; forks the others."""

    Pipe = staticmethod(multiprocessing.Pipe)

    @staticmethod
    def Process(target: partial[None], args: tuple[object, ...]) -> BaseProcess:
        _, initializer = target.args
        return multiprocessing.get_context("spawn" if initializer else "forkserver").Process(target=target, args=args)


def _have_workers_forked() -> None:
    """Start a fork server for the command, with its environment and streams, which ends with it."""
    server = forkserver._forkserver
    alive, ours = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(arbitrary_address("AF_UNIX"))
        listener.listen()
        pid = os.fork()
        if not pid:
            try:
                os.close(ours)
                forkserver.main(listener.detach(), alive, [])
            finally:
                os._exit(0)
        address = listener.getsockname()
    os.close(alive)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, ours, pid
    importlib.import_module("explain_deepfakes.pipeline.workers").CONTEXT = _WarmWorkers()
    importlib.import_module("explain_deepfakes.pipeline.commands").call = _call


def _call(command: list[str]) -> int:
    """Run a command from within a command."""
    _, script, *flags = command
    arguments = (script, flags, os.getcwd(), dict(os.environ))
    process = multiprocessing.get_context("forkserver").Process(target=_command, args=arguments)
    process.start()
    process.join()
    return process.exitcode or 0
