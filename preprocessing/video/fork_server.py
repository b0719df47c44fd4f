"""Processes for work that may crash, hang or use too much memory: one process per job, forked from a small fork server.

The fork server is a fresh Python process that has imported only what the jobs need, never torch, so that forking a process
takes milliseconds. The first job starts it. It ends with the process that started it, however that ends, and kills the forked
processes. The exit status of each is known. Messages are JSON values: nothing that a forked process sends is unpickled.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from socket import socketpair
from typing import Any, Literal

from explain_deepfakes.preprocessing.video.sandbox import clean_environment

SERVER_CODE = (
    "import json, sys; sys.path = json.loads(sys.argv[3]); "
    "from explain_deepfakes.preprocessing.video.fork_server import serve; serve(*sys.argv[1:3])"
)


class ProcessEnded(Exception):
    """A forked process has ended: by the signal `signal_number`, if any. `stuck`: it was killed because it did not respond."""

    def __init__(self, signal_number: int | None, stuck: bool) -> None:
        super().__init__(signal_number, stuck)
        self.signal_number, self.stuck = signal_number, stuck


class ForkedProcess:
    """A process that runs `main(connection)` of a module, where the connection leads to this process."""

    def __init__(self, module: str) -> None:
        self.server = _server_for(module)
        self.connection, remote_end = _connection_pair()
        self.job_count = 0  # maintained by the caller
        with remote_end:
            try:
                self.pid = self.server.fork(remote_end.fileno())
            except (OSError, EOFError) as error:
                raise ProcessEnded(None, stuck=False) from error

    def send(self, message: object, fd: int | None = None) -> None:
        """Send a message, and a file descriptor for the process to take with `receive_fd`."""
        try:
            send(self.connection, message)
            if fd is not None:
                send_handle(self.connection, fd, self.pid)
        except OSError as error:
            raise ProcessEnded(self._wait(), stuck=False) from error

    def send_if_alive(self, message: object) -> None:
        """Like `send`, but ignore that the process has ended: `receive` raises it after the messages that were sent before."""
        with suppress(OSError):
            send(self.connection, message)

    def receive(self, timeout_seconds: float) -> Any:
        """Return the next message. A process that sends nothing within the timeout is killed."""
        try:
            if self.connection.poll(timeout_seconds):
                return receive(self.connection)
        except (OSError, EOFError) as error:
            raise ProcessEnded(self._wait(), stuck=False) from error
        self.kill()
        raise ProcessEnded(None, stuck=True)

    @property
    def has_ended(self) -> bool:
        return self.connection.closed

    def is_usable(self) -> bool:
        """Whether the process seems to be waiting for a message."""
        return self.server.is_usable() and not self.has_ended and not self.connection.poll()

    def kill(self) -> None:
        if not self.has_ended:
            self.connection.close()
            self.server.reap("kill", self.pid)

    def _wait(self) -> int | None:
        """Wait for a process that has closed its connection; return the signal that ended it, if any."""
        self.connection.close()
        return self.server.reap("wait", self.pid)


def send(connection: Connection, message: object) -> None:
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> Any:
    return json.loads(connection.recv_bytes())


def receive_fd(connection: Connection) -> int:
    return recv_handle(connection)


def open_memory_file() -> int:
    """Return the descriptor of an anonymous file in memory, which cannot be left behind."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("preprocessing")
    with tempfile.TemporaryFile() as file:  # systems other than Linux
        return os.dup(file.fileno())


class ForkServer:
    """The parent's interface to the fork server."""

    def __init__(self, module: str) -> None:
        self.connection, remote_end = _connection_pair()
        command = [sys.executable, "-c", SERVER_CODE, str(remote_end.fileno()), module, json.dumps(sys.path)]
        # Threads of linear algebra libraries, which no forked process uses, would make a fork unsafe.
        environment = {**clean_environment(os.environ), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.lock, self.parent = threading.Lock(), os.getpid()
        with remote_end:
            self.process = subprocess.Popen(
                command,
                env=environment,
                pass_fds=[remote_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to the parent only; the server ends with it
            )
        atexit.register(self.close)

    def fork(self, fd: int) -> int:
        """Fork a process that gets the connection with this descriptor; return its ID."""
        with self.lock:
            send(self.connection, ["fork"])
            send_handle(self.connection, fd, self.process.pid)
            return receive(self.connection)

    def reap(self, command: Literal["kill", "wait"], pid: int) -> int | None:
        """Kill a process or wait for its end; return the signal that ended it, if any."""
        if self.parent != os.getpid():
            return None
        with self.lock, suppress(OSError, EOFError):  # the server itself may have been killed
            send(self.connection, [command, pid])
            return receive(self.connection)
        return signal.SIGKILL

    def is_usable(self) -> bool:
        """False in a process that was forked from the one that started the server: two must not share the connection."""
        return self.parent == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        if self.parent == os.getpid():
            self.connection.close()
            self.process.wait()


def start_fork_server(module: str) -> None:
    """Start the fork server of a module, so that it imports what it needs while this process does something else."""
    _server_for(module)


_servers: dict[str, ForkServer] = {}
_servers_lock = threading.Lock()


def _server_for(module: str) -> ForkServer:
    with _servers_lock:
        if module not in _servers or not _servers[module].is_usable():
            _servers[module] = ForkServer(module)
        return _servers[module]


def _connection_pair() -> tuple[Connection, Connection]:
    local_end, remote_end = (Connection(end.detach()) for end in socketpair())
    return local_end, remote_end


def serve(fd: str, module: str) -> None:
    """Run the fork server: fork and reap processes on request, and kill them all when the parent has ended."""
    main = import_module(module).main
    connection, pids = Connection(int(fd)), set[int]()
    while True:
        try:
            command, *reaped_pids = receive(connection)
            if command == "fork":
                pids.add(_fork(connection, main))
            for pid in reaped_pids:
                pids.remove(pid)
                send(connection, _reap(command, pid))
        except (OSError, EOFError):
            for pid in pids:
                _reap("kill", pid)
            return


def _fork(connection: Connection, main: Callable[[Connection], None]) -> int:
    with Connection(receive_fd(connection)) as process_connection:
        pid = os.fork()
        if pid:
            send(connection, pid)
            return pid
        connection.close()
        status = 1
        try:
            main(process_connection)
            status = 0
        finally:  # the forked process must not run the rest of the server's code
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)


def _reap(command: str, pid: int) -> int | None:
    if command == "kill":
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
