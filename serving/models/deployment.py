"""Deployments: install a checkpoint atomically, check that it works, and restore the previous one if it does not."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import torch

from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import atomic_write, write_text
from explain_deepfakes.serving.models.identity import ServerVersion
from explain_deepfakes.serving.models.params import TOKEN_VARIABLE

CURRENT = "current.safetensors"
PREVIOUS = "before"  # file with the name of the previously active checkpoint
SERVER_TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.2


class Deployment:
    """A folder of checkpoints; its symlink `current.safetensors` points at the active one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.current = folder, folder / CURRENT

    def active(self) -> Path | None:
        """The checkpoint that the symlink points at, if there is one."""
        return self.folder / os.readlink(self.current) if self.current.is_symlink() else None

    def install(self, model: Path, sha256: str, name: str, server: str | None) -> None:
        """Copy a checkpoint into the folder and make it the active one."""
        file = self.folder / name
        with atomic_write(file) as unfinished:
            shutil.copy(model, unfinished)
            check_checkpoint(unfinished, sha256)
        self._activate(file, sha256, server)

    def restore(self, server: str | None) -> tuple[Path, str]:
        """Activate the previous checkpoint; return it and its hash."""
        try:
            file = self.folder / (self.folder / PREVIOUS).read_text()
            sha256 = content_hash(file)
        except FileNotFoundError:
            raise UserError(f"there is no previous checkpoint in {self.folder}") from None
        self._activate(file, sha256, server)
        return file, sha256

    def _activate(self, file: Path, sha256: str, server: str | None) -> None:
        """Make a checkpoint active. If the server does not load it, activate the previous one again."""
        previous = self.active()
        self._link_to(file)
        try:
            if server:
                wait_until_served(server, sha256)
        except BaseException as error:  # Ctrl-C too
            self._link_to(previous)
            if isinstance(error, UserError) and previous:
                raise UserError(f"{file.name} was not deployed: {error}; {previous.name} is active again") from error
            raise
        if previous and previous != file:
            write_text(self.folder / PREVIOUS, previous.name)

    def _link_to(self, file: Path | None) -> None:
        """Replace the symlink atomically: a reader opens either the old or the new checkpoint."""
        if file is None:
            self.current.unlink()
            return
        link = self.folder / f".{CURRENT}.{os.getpid()}"
        link.symlink_to(file.name)
        os.replace(link, self.current)


def check_checkpoint(path: Path, sha256: str) -> None:
    """Check that the file has the expected hash, loads, and gives finite scores."""
    if content_hash(path) != sha256:
        raise UserError("the file differs from the one that was added to the registry")
    load_predictor(path, torch.device("cpu")).check_finite()


def wait_until_served(server: str, sha256: str) -> None:
    """Wait until the server uses this checkpoint."""
    deadline = time.monotonic() + SERVER_TIMEOUT_SECONDS
    while True:
        version = fetch_server_version(server)
        if version["refused"]:
            raise UserError(f"the server at {server} refuses it: {version['refused']}")
        if version.get("sha256") == sha256:
            return
        if time.monotonic() > deadline:
            raise UserError(f"the server at {server} did not load it within {SERVER_TIMEOUT_SECONDS:g} seconds")
        time.sleep(POLL_SECONDS)


def fetch_server_version(server: str) -> ServerVersion:
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(f"{server.rstrip('/')}/version", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            version: ServerVersion = json.load(response)
    except urllib.error.HTTPError as error:
        remedy = f"; set the environment variable {TOKEN_VARIABLE} to one of its tokens" if error.code == 401 else ""
        raise UserError(f"the server at {server} refuses to state its version ({error}){remedy}") from error
    except (urllib.error.URLError, ValueError, TimeoutError) as error:
        raise UserError(f"the server at {server} does not answer ({error})") from error
    return version
