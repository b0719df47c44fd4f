"""Retraining: train again if something changed, and deploy the result if it is not worse."""

import contextlib
import fcntl
import http.client
import json
import smtplib
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.project import from_root, root
from explain_deepfakes.serving.models.deployment import Deployment
from explain_deepfakes.serving.models.registry import Registry, deploy

STAGE = "test"  # with all stages that it depends on
MODEL, TESTS = "data/models/best.safetensors", "results/tests"
LOCK, LOG = "retrain.lock", "retrain.log"
NOTIFY_TIMEOUT_SECONDS = 20


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[bool]:
    """Yield whether the lock is free, and hold it then; it ends with its process, even if that is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def run_dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root(), capture_output=True, text=True)


def has_changed() -> bool:
    status = run_dvc("status", "--json", "--with-deps", STAGE)
    if status.returncode:
        raise UserError(f"dvc status failed: {last_line(status.stderr)}")
    return bool(json.loads(status.stdout))


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no message")


def retrain(registry: Registry, deployment: Deployment | None, server: str | None) -> tuple[bool, str]:
    """Train, register, promote and deploy; return whether all went well, and the outcome in words."""
    training = run_dvc("repro", STAGE)
    (registry.folder / LOG).write_text(training.stdout + training.stderr)
    if training.returncode:
        return False, f"training failed: {last_line(training.stderr)}; see {registry.folder / LOG}"
    model = from_root(MODEL)
    if existing := registry.with_hash(content_hash(model)):
        return True, f"training gave version {existing.number} again"
    try:
        version = registry.add(model, from_root(TESTS))
        outcome = f"version {version.number} is in production: {registry.promote(version.number, force=False)}"
        if deployment:
            deploy(registry, deployment, server)
            outcome += f" It is active at {deployment.current}."
    except UserError as error:
        return False, str(error)
    return True, outcome


def notify(path: Path, text: str) -> None:
    """Send a message to the recipients in the file; report a failure without any address, which may hold a token."""
    try:
        recipients = yaml.safe_load(path.read_text())
        unknown = recipients.keys() - {"webhook", "email"}
    except (OSError, yaml.YAMLError, AttributeError):
        raise UserError(f"--notify: {path} is not a readable YAML file with a webhook or email section") from None
    if unknown or not recipients:
        raise UserError(f"--notify: {path} must contain webhook or email, and nothing else")
    senders: dict[str, Callable[[Any, str], None]] = {"webhook": send_to_webhook, "email": send_email}
    for name, send in senders.items():
        if name not in recipients:
            continue
        try:
            send(recipients[name], text)
        except (OSError, ValueError, KeyError, TypeError, smtplib.SMTPException, http.client.HTTPException) as error:
            code = f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""
            print(f"the {name} could not be notified ({type(error).__name__}{code})", file=sys.stderr)


def send_to_webhook(url: str, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=NOTIFY_TIMEOUT_SECONDS).close()


def send_email(account: dict[str, str], text: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = account["from"], account["to"]
    message["Subject"] = f"retraining on {socket.gethostname()}"
    message.set_content(text)
    with smtplib.SMTP(account["host"], int(account.get("port", 25)), timeout=NOTIFY_TIMEOUT_SECONDS) as connection:
        if "user" in account:
            connection.starttls(context=ssl.create_default_context())  # the password goes to no server but this one
            connection.login(account["user"], account["password"])
        connection.send_message(message)


def retrain_if_changed(args: Namespace) -> None:
    with exclusive_lock(args.registry / LOCK) as is_free:
        if not is_free:
            print("another retraining is running")
            return
        if not has_changed():
            print("nothing changed")
            return
        went_well, outcome = retrain(Registry(args.registry), args.deploy and Deployment(args.deploy), args.server)
        print(outcome)
        if args.notify:
            notify(args.notify, outcome)
    sys.exit(0 if went_well else 1)
