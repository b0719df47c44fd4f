"""The project's server in a separate process, and a plain HTTP client for it."""

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
from typing import IO, Any, TypedDict

from explain_deepfakes.pipeline.project import CODE

SECONDS = 90.0  # timeout of every wait


class JobAnswer(TypedDict):
    """The fields of a job's JSON that the tests read."""

    id: str
    state: str
    error: str | None
    verdict: str | None
    uncertain: bool
    reason: str | None
    links: dict[str, str]


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """Return the detail of a problem+json response."""
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
    output: IO[bytes]  # its standard output and error
    host: str = "127.0.0.1"

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Response:
        return self.request("GET", path, **headers)

    def send(self, file: Path, **query: str) -> Response:
        parameters = "&".join(f"{name}={value}" for name, value in {"name": file.name, **query}.items())
        return self.request("POST", f"/api/jobs?{parameters}", file.read_bytes())

    def wait_until_over(self, link: str) -> JobAnswer:
        """Return the job's JSON once it has reached a final state."""
        return self.wait_for_state(link, "done", "failed", "cancelled")

    def wait_for_state(self, link: str, *states: str) -> JobAnswer:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            job: JobAnswer = self.get(link).json()
            if job["state"] in states:
                return job
            time.sleep(0.05)
        raise AssertionError(f"the job is still {job['state']}")

    def wait_for_field(self, path: str, name: str) -> object:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            if value := self.get(path).json()[name]:
                return value
            time.sleep(0.05)
        raise AssertionError(f"{path} has no value for {name}")

    def read_output(self) -> str:
        self.output.seek(0)
        return self.output.read().decode()

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
    """Start a server for the finished project. Its network was trained on drawings, so it needs `demo` to give verdicts."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(CODE / script), "--host", host, "--port", str(port), *["--demo"] * demo, *map(str, flags)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        server = Server(port, process, output, host)
        try:
            if not responds(server, "/ready" if is_ready else "/health"):
                process.kill()
                raise AssertionError(f"the server is not ready: {server.read_output()}")
            yield server
        finally:
            server.end()


def responds(server: Server, path: str) -> bool:
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends and server.process.poll() is None:
        try:
            if server.get(path).status == 200:
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False
