"""retrain.py, as cron runs it: one at a time, only after changes, with notifications and no secrets in the logs."""

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
from small_checkpoints import noisy_checkpoint
from warm_commands import run_warm

from explain_deepfakes.pipeline.project import CODE

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
def checkpoints(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with model.safetensors and its test results."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        name: noisy_checkpoint(finished, folder / name, noise) for name, noise in (("good", 0), ("as good", 1e-6), ("worse", 1))
    }


@pytest.fixture
def here(tmp_path: Path, checkpoints: dict[str, Path]) -> Path:
    """A project whose training takes no time: it copies the folder `given`."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (folder / "params.yaml").write_text("{}")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
    set_training_result(folder, checkpoints["good"])
    return folder


def set_training_result(folder: Path, checkpoint: Path) -> None:
    shutil.rmtree(folder / "given", ignore_errors=True)
    shutil.copytree(checkpoint, folder / "given")


def retrained(folder: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    return run_warm(CODE / "serving/retrain.py", [*map(str, flags)], folder)


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:  # of any protocol, which the handler implements
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_it_trains_where_something_changed_and_deploys_what_did_not_get_worse(here: Path, checkpoints: dict[str, Path]) -> None:
    flags = ("--deploy", here / "deployment")
    first = retrained(here, *flags)
    assert "version 1 is in production" in first.stdout, first.stdout + first.stderr
    assert retrained(here, *flags).stdout == "nothing changed\n"
    set_training_result(here, checkpoints["as good"])
    assert "version 2 is in production" in retrained(here, *flags).stdout
    assert (here / "deployment/current.safetensors").read_bytes() == (checkpoints["as good"] / "model.safetensors").read_bytes()
    set_training_result(here, checkpoints["worse"])
    worse = retrained(here, *flags)
    assert (worse.returncode, "version 3 is not promoted" in worse.stdout) == (1, True)
    assert (here / "deployment/current.safetensors").read_bytes() == (checkpoints["as good"] / "model.safetensors").read_bytes()


def test_two_never_run_at_once(here: Path) -> None:
    lock = here / "data/registry/retrain.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert retrained(here).stdout == "another retraining is running\n"
    assert "version 1" in retrained(here).stdout


def test_named_recipients_are_notified_and_no_secret_is_in_any_log(here: Path) -> None:
    messages: list[tuple[str, str]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]))
            self.send_response(500 if len(messages) > 1 else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Post(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            in_letter = False
            for line in self.rfile:
                messages.append(("mail", line.decode()))
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
    assert messages[0] == (f"/{SECRET}", well.stdout.strip())
    assert any("version 1 is in production" in line for kind, line in messages if kind == "mail")
    assert failed.returncode == 1
    assert "training failed" in failed.stdout
    assert "the webhook could not be notified (HTTPError 500)" in failed.stderr
    logged = "".join(path.read_text(errors="replace") for path in (here / "data/registry").rglob("*") if path.is_file())
    assert SECRET not in well.stdout + well.stderr + failed.stdout + failed.stderr + logged
