"""Child processes for work that may crash, hang or eat memory: one for each job, forked off a small server.

The server is a fresh Python that has imported what the jobs need and nothing else, never torch, so that a child costs
milliseconds. It is started by the first job and ends with the process that started it, however that ends; so do the
children. How each of them ended is known. Messages are plain values as JSON: nothing that such a child says is unpickled.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from socket import socketpair
from typing import Any

START = (
    "import json, sys; sys.path = json.loads(sys.argv[3]); "
    "from preprocessing.video.fork_server import serve; serve(*sys.argv[1:3])"
)


class ProcessEnded(Exception):
    """The child is no more. `signal_number` is what ended it, if anything did; `stuck` says that it had fallen silent."""

    def __init__(self, signal_number: int | None, stuck: bool) -> None:
        super().__init__(signal_number, stuck)
        self.signal_number, self.stuck = signal_number, stuck


class ForkedProcess:
    """A process that runs `work` of a module with a connection to this one."""

    def __init__(self, module: str) -> None:
        self.server = _server_for(module)
        ours, theirs = (Connection(one.detach()) for one in socketpair())
        self.connection, self.jobs = ours, 0  # the jobs are counted by who gives them
        with theirs:
            try:
                self.pid = self.server.begin(theirs.fileno())
            except (OSError, EOFError) as error:
                raise ProcessEnded(None, stuck=False) from error

    def send(self, message: Any, handle: int | None = None) -> None:
        """The handle, of an open file, is passed on: the child takes it with `receive_handle`."""
        try:
            send(self.connection, message)
            if handle is not None:
                send_handle(self.connection, handle, self.pid)
        except OSError as error:
            raise ProcessEnded(self._wait(), stuck=False) from error

    def give_back(self, message: Any) -> None:
        """As `send`, to a child that may have ended meanwhile: `receive` says so, after all that it had said before."""
        with suppress(OSError):
            send(self.connection, message)

    def receive(self, seconds: float) -> Any:
        """The next message. A child that says nothing for so long is ended."""
        try:
            if self.connection.poll(seconds):
                return receive(self.connection)
        except (OSError, EOFError) as error:
            raise ProcessEnded(self._wait(), stuck=False) from error
        self.end()
        raise ProcessEnded(None, stuck=True)

    @property
    def has_ended(self) -> bool:
        return self.connection.closed

    def is_usable(self) -> bool:
        """It waits for a message, as far as can be told from here."""
        return self.server.is_usable() and not self.has_ended and not self.connection.poll()

    def end(self) -> None:
        if not self.has_ended:
            self.connection.close()
            self.server.end("kill", self.pid)

    def _wait(self) -> int | None:
        """It has hung up, so it is ending: the signal that it ends by, if any."""
        self.connection.close()
        return self.server.end("wait", self.pid)


def send(connection: Connection, message: Any) -> None:
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> Any:
    return json.loads(connection.recv_bytes())


def receive_handle(connection: Connection) -> int:
    return recv_handle(connection)


def open_memory() -> int:
    """A handle of a file that lies in memory and has no name: it cannot be left behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("preprocessing")
    with tempfile.TemporaryFile() as file:  # where the system is no Linux
        return os.dup(file.fileno())


class Server:
    """The parent's side of the process that children are forked off."""

    def __init__(self, module: str) -> None:
        ours, theirs = (Connection(one.detach()) for one in socketpair())
        command = [sys.executable, "-c", START, str(theirs.fileno()), module, json.dumps(sys.path)]
        # Threads of linear algebra, which no child uses, would forbid a fork.
        surroundings = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.connection, self.lock, self.parent = ours, threading.Lock(), os.getpid()
        with theirs:
            self.process = subprocess.Popen(
                command,
                env=surroundings,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent to hear, whose end ends us
            )
        atexit.register(self.close)

    def begin(self, handle: int) -> int:
        with self.lock:
            send(self.connection, ["begin"])
            send_handle(self.connection, handle, self.process.pid)
            return receive(self.connection)

    def end(self, how: str, pid: int) -> int | None:
        if self.parent != os.getpid():
            return None
        with self.lock, suppress(OSError, EOFError):  # the server itself may have been killed
            send(self.connection, [how, pid])
            return receive(self.connection)
        return signal.SIGKILL

    def is_usable(self) -> bool:
        """Not in a process that was forked off the one that started it: two would talk at once."""
        return self.parent == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        if self.parent == os.getpid():
            self.connection.close()
            self.process.wait()


_servers: dict[str, Server] = {}
_starting = threading.Lock()


def _server_for(module: str) -> Server:
    with _starting:
        if module not in _servers or not _servers[module].is_usable():
            _servers[module] = Server(module)
        return _servers[module]


def serve(handle: str, module: str) -> None:
    """The server's side: forks a child when told to, ends one when told to, and ends them all when its parent is gone."""
    work = import_module(module).work
    connection, children = Connection(int(handle)), set[int]()
    while True:
        try:
            told, *pids = receive(connection)
            if told == "begin":
                children.add(_begin(connection, work))
            for pid in pids:
                children.remove(pid)
                send(connection, _end(told, pid))
        except (OSError, EOFError):
            for pid in children:
                _end("kill", pid)
            return


def _begin(connection: Connection, work: Any) -> int:
    with Connection(receive_handle(connection)) as of_child:
        pid = os.fork()
        if pid:
            send(connection, pid)
            return pid
        connection.close()
        status = 1
        try:
            work(of_child)
            status = 0
        finally:  # the rest of the server's code is not the child's to run
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)


def _end(how: str, pid: int) -> int | None:
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
