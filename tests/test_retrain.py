"""What cron runs: once at a time, only where something changed, and told to whom it concerns without a secret in any log."""

import fcntl
import json
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import Project
from little_judges import changed
from warm_commands import run_warm

from pipeline.project import CODE

SECRET = "s3cr3t-t0k3n"
MODEL = "data/models/best.safetensors"
STAGES = {
    "train": {
        "cmd": f"mkdir -p data/models && cp given/model.safetensors {MODEL}",
        "deps": ["given/model.safetensors"],
        "outs": [MODEL],
    },
    "test": {
        "cmd": "mkdir -p results && cp -r given/tests results/tests",
        "deps": ["given/tests", MODEL],
        "outs": ["results/tests"],
    },
}


@pytest.fixture(scope="module")
def judges(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each a model.safetensors and its tests."""
    folder = tmp_path_factory.mktemp("judges")
    return {name: changed(finished, folder / name, noise) for name, noise in (("good", 0), ("as good", 1e-6), ("worse", 1))}


@pytest.fixture
def here(tmp_path: Path, judges: dict[str, Path]) -> Path:
    """A project whose training takes no time: it gives what lies in `given`."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (folder / "params.yaml").write_text("{}")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
    give(folder, judges["good"])
    return folder


def give(folder: Path, judge: Path) -> None:
    shutil.rmtree(folder / "given", ignore_errors=True)
    shutil.copytree(judge, folder / "given")


def retrained(folder: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    return run_warm(CODE / "serving/retrain.py", [*map(str, flags)], folder)


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:  # of any protocol: the handler speaks it
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_it_trains_where_something_changed_and_deploys_what_did_not_get_worse(here: Path, judges: dict[str, Path]) -> None:
    flags = ("--deploy", here / "place")
    first = retrained(here, *flags)
    assert "version 1 is in production" in first.stdout, first.stdout + first.stderr
    assert retrained(here, *flags).stdout == "nothing changed\n"
    give(here, judges["as good"])
    assert "version 2 is in production" in retrained(here, *flags).stdout
    assert (here / "place/current.safetensors").read_bytes() == (judges["as good"] / "model.safetensors").read_bytes()
    give(here, judges["worse"])
    worse = retrained(here, *flags)
    assert (worse.returncode, "version 3 is not promoted" in worse.stdout) == (1, True)
    assert (here / "place/current.safetensors").read_bytes() == (judges["as good"] / "model.safetensors").read_bytes()


def test_two_never_run_at_once(here: Path) -> None:
    lock = here / "data/registry/retrain.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert retrained(here).stdout == "another retraining is running\n"
    assert "version 1" in retrained(here).stdout


def test_who_is_named_is_told_and_no_secret_is_in_any_log(here: Path) -> None:
    told: list[tuple[str, str]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]))
            self.send_response(500 if len(told) > 1 else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Post(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            in_letter = False
            for line in self.rfile:
                told.append(("mail", line.decode()))
                begins, ends = line.lower().startswith(b"data"), line.strip() == b"."
                if not in_letter or ends:
                    quits = line.lower().startswith(b"quit")
                    self.wfile.write(b"354 go on\r\n" if begins else b"221 bye\r\n" if quits else b"250 well\r\n")
                in_letter = begins or (in_letter and not ends)

    with listening(Webhook) as hook, listening(Post) as post:
        email = {"host": "127.0.0.1", "port": post, "from": "cron@example.org", "to": "me@example.org"}
        (here / "notify.yaml").write_text(yaml.safe_dump({"webhook": f"http://127.0.0.1:{hook}/{SECRET}", "email": email}))
        well = retrained(here, "--notify", here / "notify.yaml")
        assert "could not be notified" not in well.stderr
        (here / "dvc.yaml").write_text((here / "dvc.yaml").read_text().replace("cp given/model", "false && cp given/model"))
        failed = retrained(here, "--notify", here / "notify.yaml")
    assert told[0] == (f"/{SECRET}", well.stdout.strip())
    assert any("version 1 is in production" in line for kind, line in told if kind == "mail")
    assert failed.returncode == 1
    assert "training failed" in failed.stdout
    assert "the webhook could not be notified (HTTPError 500)" in failed.stderr
    logged = "".join(path.read_text(errors="replace") for path in (here / "data/registry").rglob("*") if path.is_file())
    assert SECRET not in well.stdout + well.stderr + failed.stdout + failed.stderr + logged
