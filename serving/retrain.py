"""For cron: trains anew where data, settings or code changed, and puts what came of it in place if it did not get worse.

    python serving/retrain.py [--deploy /srv/judge] [--server http://127.0.0.1:8000] [--notify notify.yaml]

Ends with 0 where nothing changed, another one runs, or all went well; with 1 where training failed, or what came of it was
not promoted or does not work. notify.yaml says who is told:

    webhook: https://…                   # is sent {"text": "…"}
    email: {host: …, port: 587, from: …, to: …, user: …, password: …}

Keep it to yourself (chmod 600): nothing of what is in it is printed or logged.
"""

import argparse
import contextlib
import fcntl
import http.client
import json
import smtplib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.project import from_root, root
from serving.models.deployment import Deployment
from serving.registry import Registry, deploy

STAGE = "test"  # and all that it needs
MODEL, TESTS = "data/models/best.safetensors", "results/tests"
LOCK, LOG = "retrain.lock", "retrain.log"
SECONDS_TO_TELL = 20


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Whether no other one runs; the lock goes with its process, however that ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def dvc(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root(), capture_output=True, text=True)


def has_changed() -> bool:
    told = dvc("status", "--json", "--with-deps", STAGE)
    if told.returncode:
        raise UserError(f"dvc status failed: {last_line(told.stderr)}")
    return bool(json.loads(told.stdout))


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def retrain(registry: Registry, place: Deployment | None, server: str | None) -> tuple[bool, str]:
    """Whether all went well, and in words what came of it."""
    done = dvc("repro", STAGE)
    (registry.folder / LOG).write_text(done.stdout + done.stderr)
    if done.returncode:
        return False, f"training failed: {last_line(done.stderr)}; {registry.folder / LOG} tells all"
    model = from_root(MODEL)
    if same := registry.with_hash(content_hash(model)):
        return True, f"training gave version {same.number} again"
    try:
        version = registry.add(model, from_root(TESTS))
        words = f"version {version.number} is in production: {registry.promote(version.number, force=False)}"
        if place:
            deploy(registry, place, server)
            words += f" It answers from {place.current}."
    except UserError as error:
        return False, str(error)
    return True, words


def tell(path: Path, text: str) -> None:
    """Whom the file names. Where that fails, why: but no address, which may hold a token."""
    try:
        told: dict[str, Any] = yaml.safe_load(path.read_text())
        unknown = told.keys() - {"webhook", "email"}
    except (OSError, yaml.YAMLError, AttributeError):
        raise UserError(f"--notify: {path} cannot be read as YAML with webhook or email in it") from None
    if unknown or not told:
        raise UserError(f"--notify: {path} should say webhook or email, and nothing else")
    for name, send in (("webhook", send_to_webhook), ("email", send_email)):
        if name not in told:
            continue
        try:
            send(told[name], text)
        except (OSError, ValueError, KeyError, TypeError, smtplib.SMTPException, http.client.HTTPException) as error:
            code = f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""
            print(f"the {name} could not be told ({type(error).__name__}{code})", file=sys.stderr)


def send_to_webhook(address: str, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=SECONDS_TO_TELL).close()


def send_email(how: dict[str, Any], text: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = how["from"], how["to"]
    message["Subject"] = f"retraining on {socket.gethostname()}"
    message.set_content(text)
    with smtplib.SMTP(how["host"], int(how.get("port", 25)), timeout=SECONDS_TO_TELL) as post:
        if "user" in how:
            post.starttls()  # a password is not sent in the clear
            post.login(how["user"], how["password"])
        post.send_message(message)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains anew where something changed; for cron.")
    parser.add_argument("--registry", type=Path, default=from_root("data/registry"), help="folder of the versions")
    parser.add_argument("--deploy", type=Path, help="where the one in production is put")
    parser.add_argument("--server", metavar="URL", help="of the server that judges by it: wait until it does")
    parser.add_argument("--notify", type=Path, metavar="YAML", help="who is told what came of it")
    given = parser.parse_args()
    with alone(given.registry / LOCK) as is_alone:
        if not is_alone:
            print("another one runs")
            return
        if not has_changed():
            print("nothing changed")
            return
        went_well, words = retrain(Registry(given.registry), given.deploy and Deployment(given.deploy), given.server)
        print(words)
        if given.notify:
            tell(given.notify, words)
    sys.exit(0 if went_well else 1)


if __name__ == "__main__":
    run(main)
