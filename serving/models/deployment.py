"""A place where a judge lies that answers: put there whole, seen to work, and given back to the one before if it does not."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch

from model_test_train.evaluation.predictor import load_predictor
from pipeline.errors import UserError
from pipeline.ledger import content_hash
from pipeline.outputs import atomic_write, write_text

CURRENT = "current.safetensors"
BEFORE = "before"  # file with the name of what answered before
SECONDS_FOR_A_SERVER = 120.0
SECONDS_BETWEEN_LOOKS = 0.2


class Deployment:
    """A folder of checkpoints; a link in it, `current.safetensors`, tells which of them answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.current = folder, folder / CURRENT

    def answering(self) -> Path | None:
        return self.folder / os.readlink(self.current) if self.current.is_symlink() else None

    def put(self, model: Path, sha256: str, name: str, server: str | None) -> None:
        """Another checkpoint into the place, to answer from now on."""
        file = self.folder / name
        with atomic_write(file) as unfinished:
            shutil.copy(model, unfinished)
            prove(unfinished, sha256)
        self._answer_by(file, sha256, server)

    def put_back(self, server: str | None) -> tuple[Path, str]:
        """The one that answered before, and its hash."""
        try:
            file = self.folder / (self.folder / BEFORE).read_text()
            sha256 = content_hash(file)
        except FileNotFoundError:
            raise UserError(f"nothing answered before in {self.folder}") from None
        self._answer_by(file, sha256, server)
        return file, sha256

    def _answer_by(self, file: Path, sha256: str, server: str | None) -> None:
        """Where the server does not come to judge by it, the one before answers again."""
        before = self.answering()
        self._point_at(file)
        try:
            if server:
                wait_for(server, sha256)
        except BaseException as error:  # Ctrl-C too
            self._point_at(before)
            if isinstance(error, UserError) and before:
                raise UserError(f"{file.name} is not in place: {error}; {before.name} answers again") from error
            raise
        if before and before != file:
            write_text(self.folder / BEFORE, before.name)

    def _point_at(self, file: Path | None) -> None:
        """In one step: who opens it finds the one or the other."""
        if file is None:
            self.current.unlink()
            return
        link = self.folder / f".{CURRENT}.{os.getpid()}"
        link.symlink_to(file.name)
        os.replace(link, self.current)


def prove(path: Path, sha256: str) -> None:
    """It is what it should be, it loads, and it gives numbers."""
    if content_hash(path) != sha256:
        raise UserError("the file is not what was added to the registry")
    load_predictor(path, torch.device("cpu")).prove()


def wait_for(server: str, sha256: str) -> None:
    """Until it judges by that."""
    ends = time.monotonic() + SECONDS_FOR_A_SERVER
    while True:
        told = version_of(server)
        if told["refused"]:
            raise UserError(f"the server at {server} refuses it: {told['refused']}")
        if told.get("sha256") == sha256:
            return
        if time.monotonic() > ends:
            raise UserError(f"the server at {server} does not judge by it after {SECONDS_FOR_A_SERVER:g} seconds")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def version_of(server: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{server.rstrip('/')}/version", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
    except (urllib.error.URLError, ValueError, TimeoutError) as error:
        raise UserError(f"the server at {server} does not answer ({error})") from error
    return found
