"""A server of ours in a process of its own, and a client that knows HTTP and nothing of it."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.project import CODE

SECONDS = 90.0  # until something that should happen has happened


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The sentence of a problem+json."""
        assert self.headers["content-type"] == "application/problem+json", self
        facts = self.json()
        assert facts["status"] == self.status
        assert len(facts["detail"].split()) > 2, facts
        detail: str = facts["detail"]
        return detail


@dataclass
class Server:
    port: int
    process: subprocess.Popen
    said: IO[bytes]  # what it prints
    host: str = "127.0.0.1"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def send(self, file: Path, **query: str) -> Answer:
        words = "&".join(f"{name}={value}" for name, value in {"name": file.name, **query}.items())
        return self.ask("POST", f"/api/jobs?{words}", file.read_bytes())

    def over(self, link: str) -> dict[str, Any]:
        """The job when it is over."""
        return self.until(link, "done", "failed", "cancelled")

    def until(self, link: str, *states: str) -> dict[str, Any]:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            job: dict[str, Any] = self.get(link).json()
            if job["state"] in states:
                return job
            time.sleep(0.05)
        raise AssertionError(f"the job is still {job['state']}")

    def until_told(self, path: str, name: str) -> Any:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            if told := self.get(path).json()[name]:
                return told
            time.sleep(0.05)
        raise AssertionError(f"{path} does not tell of {name}")

    def printed(self) -> str:
        self.said.seek(0)
        return self.said.read().decode()

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextmanager
def serving(
    folder: Path,
    *flags: object,
    script: str = "serving/app.py",
    is_ready: bool = True,
    host: str = "127.0.0.1",
    demo: bool = True,
) -> Iterator[Server]:
    """The small corpus's network has seen drawings only, and gives verdicts with `demo`."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(CODE / script), "--host", host, "--port", str(port), *["--demo"] * demo, *map(str, flags)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        server = Server(port, process, said, host)
        try:
            if not answers(server, "/ready" if is_ready else "/health"):
                process.kill()
                raise AssertionError(f"the server is not ready: {server.printed()}")
            yield server
        finally:
            server.end()


def answers(server: Server, path: str) -> bool:
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends and server.process.poll() is None:
        try:
            if server.get(path).status == 200:
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False
