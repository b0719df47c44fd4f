"""Versions of a judge: what each is, how it was tested, and which of them answers. Nothing is overwritten, all is noted.

    python serving/registry.py add data/models/best.safetensors --tests results/tests
    python serving/registry.py list
    python serving/registry.py promote 2 [--force]    # to production, if a comparison shows that it did not get worse
    python serving/registry.py deploy /srv/judge [--server http://127.0.0.1:8000]    # the one in production
    python serving/registry.py return /srv/judge      # to the one that answered before

A server that was started with `--model_path /srv/judge/current.safetensors` takes the new one between two jobs.
"""

import argparse
import contextlib
import fcntl
import getpass
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_test_train.compare_models import compared, in_words, read_side, refuse_unlike
from model_test_train.networks.checkpoint import read_card
from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.outputs import atomic_write, write_text
from pipeline.project import from_root
from serving.models.deployment import Deployment

CANDIDATE, PRODUCTION, ARCHIVED = "candidate", "production", "archived"
PROMOTE = "promote"  # as the history has it
TESTED = ("protocol.json", "metrics.json", "videos.csv", "frames.csv")  # what a comparison needs of a test
MARGIN = 0.02  # of AUC by video, that may be lost; more must be out of the question, not just unseen
DRAWS = 2000
MODEL, RECORD, HISTORY, LOCK = "model.safetensors", "version.json", "history.jsonl", "registry.lock"


@dataclass(frozen=True)
class Version:
    number: int
    name: str
    sha256: str
    trained_on: list[str]
    warning: str | None
    auc: float | None  # by video, where it was tested
    stage: str = CANDIDATE

    def line(self) -> str:
        tested = "not tested" if self.auc is None else f"AUC {self.auc:.3f}"
        return f"{self.number:>4}  {self.stage:<11} {self.name:<36} {tested:<11} {self.sha256[:12]}"


def stage_of(number: int, promoted: list[int]) -> str:
    if number not in promoted:
        return CANDIDATE
    return PRODUCTION if number == promoted[-1] else ARCHIVED


class Registry:
    """A folder: one for each version, which never changes; and the history, which alone tells what became of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time changes the registry; the lock goes with its process, however that ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def versions(self) -> list[Version]:
        numbers = sorted(int(path.parent.name) for path in self.folder.glob(f"*/{RECORD}") if path.parent.name.isdigit())
        promoted = [line["version"] for line in self.history() if line["did"] == PROMOTE]
        records = {number: json.loads((self.folder / str(number) / RECORD).read_text()) for number in numbers}
        return [Version(**record, stage=stage_of(number, promoted)) for number, record in records.items()]

    def history(self) -> list[dict[str, Any]]:
        """What was done, in its order."""
        path = self.folder / HISTORY
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def get(self, number: int) -> Version:
        known = {version.number: version for version in self.versions()}
        if number not in known:
            raise UserError(f"there is no version {number}; there are: {', '.join(map(str, known)) or 'none'}")
        return known[number]

    def with_hash(self, sha256: str) -> Version | None:
        return next((version for version in self.versions() if version.sha256 == sha256), None)

    def in_production(self) -> Version | None:
        return next((version for version in self.versions() if version.stage == PRODUCTION), None)

    def path(self, version: Version) -> Path:
        return self.folder / str(version.number)

    def add(self, model: Path, tests: Path | None) -> Version:
        """As the next version, a candidate; the same file is not added twice."""
        card, sha256, auc = read_card(model), content_hash(model), None
        if tests:
            protocol = json.loads((tests / "protocol.json").read_text())
            if protocol["checkpoint"] != sha256:
                raise UserError(f"{tests} is the test of another checkpoint ({protocol['model']})")
            auc = json.loads((tests / "metrics.json").read_text())["video"]["auc"]["value"]
        with self._locked():
            if same := self.with_hash(sha256):
                raise UserError(f"{model} is version {same.number} already")
            number = max((version.number for version in self.versions()), default=0) + 1
            version = Version(number, card.name, sha256, card.trained_on, card.warning, auc)
            self._store(version, model, tests)
            self._append("add", version)
        return version

    def _store(self, version: Version, model: Path, tests: Path | None) -> None:
        with atomic_write(self.path(version)) as unfinished:
            (unfinished / "tests").mkdir(parents=True)
            shutil.copy(model, unfinished / MODEL)
            if tests:
                for name in TESTED:
                    shutil.copy(tests / name, unfinished / "tests" / name)
            record = {name: value for name, value in asdict(version).items() if name != "stage"}
            (unfinished / RECORD).write_text(json.dumps(record, indent=1))

    def promote(self, number: int, force: bool, margin: float = MARGIN) -> str:
        version = self.get(number)
        with self._locked():  # also while it is compared: what is in production must stay what it is compared with
            before = self.in_production()
            if before and before.number == number:
                raise UserError(f"version {number} is in production already")
            words, is_worse = self.compare(before, version, margin) if before else ("it is the first", False)
            if is_worse and not force:
                raise UserError(
                    f"version {number} is not promoted: {words} --force promotes it all the same, and notes that it did"
                )
            self._append(PROMOTE, version, forced=is_worse, words=words, before=before and before.number)
        return words

    def compare(self, before: Version, version: Version, margin: float) -> tuple[str, bool]:
        """In words, and whether it may have become worse: the interval of what it lost in AUC by video passes the margin."""
        tests = [self.path(one) / "tests" for one in (before, version)]
        for one, folder in zip((before, version), tests, strict=True):
            if not (folder / "protocol.json").is_file():
                return f"version {one.number} came without a test (--tests), so nothing can be compared.", True
        a, b = (read_side(folder, 0.5) for folder in tests)
        try:
            refuse_unlike(a, b)
        except UserError as error:
            return f"{error}.", True
        differences = compared(a, b, DRAWS, 0)
        words = in_words(f"version {before.number}", f"version {version.number}", len(a.table.judged), differences)
        auc = next(one for one in differences if one.figure == "auc")
        may_have_lost = np.isnan(auc.low) or auc.low < -margin
        if may_have_lost:
            words += f" That it lost no more than {margin:g} of AUC is not shown."
        return words, may_have_lost

    def note(self, what: str, version: Version, **more: Any) -> None:
        with self._locked():
            self._append(what, version, **more)

    def _append(self, what: str, version: Version, **more: Any) -> None:
        """To the history; by who holds the lock, for the whole of it is written anew."""
        line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "by": getpass.getuser(), "did": what}
        lines = [*self.history(), {**line, "version": version.number, "sha256": version.sha256, **more}]
        write_text(self.folder / HISTORY, "".join(json.dumps(line) + "\n" for line in lines))


def list_versions(registry: Registry) -> None:
    versions = registry.versions()
    for version in versions:
        print(version.line())
    if not versions:
        print(f"there is no version in {registry.folder}; `add` takes a checkpoint")


def deploy(registry: Registry, place: Deployment, server: str | None) -> None:
    version = registry.in_production()
    if not version:
        raise UserError("no version is in production; `promote` one")
    place.put(registry.path(version) / MODEL, version.sha256, f"{version.number}_{version.sha256[:12]}.safetensors", server)
    registry.note("deploy", version, to=str(place.folder))
    print(f"version {version.number} answers from {place.current}")


def put_back(registry: Registry, place: Deployment, server: str | None) -> None:
    file, sha256 = place.put_back(server)
    if version := registry.with_hash(sha256):
        registry.note("return", version, to=str(place.folder))
    print(f"{file.name} answers again" + ("" if version else f"; it is no version of {registry.folder}"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Versions of a judge, and which of them answers.")
    parser.add_argument("--registry", type=Path, default=from_root("data/registry"), help="folder of the versions")
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add", help="a checkpoint as a further version, a candidate")
    adding.add_argument("model", type=Path)
    adding.add_argument("--tests", type=Path, help="its test: the folder that test_model.py wrote")
    commands.add_parser("list", help="all versions")
    promoting = commands.add_parser("promote", help="a candidate to production, if it did not get worse")
    promoting.add_argument("version", type=int)
    promoting.add_argument("--margin", type=float, default=MARGIN, help=f"AUC by video that it may lose (default: {MARGIN})")
    promoting.add_argument("--force", action="store_true", help="even if that is not shown; it is noted")
    for name, words in (("deploy", "put the one in production in place"), ("return", "to the one that answered before")):
        placing = commands.add_parser(name, help=words)
        placing.add_argument("place", type=Path, help="a folder; what answers is current.safetensors in it")
        placing.add_argument("--server", metavar="URL", help="of the server that judges by it: wait until it does")
    given = parser.parse_args()
    registry = Registry(given.registry)
    if given.command == "add":
        print(registry.add(given.model, given.tests).line())
    elif given.command == "list":
        list_versions(registry)
    elif given.command == "promote":
        print(f"version {given.version} is in production: {registry.promote(given.version, given.force, given.margin)}")
    elif given.command == "deploy":
        deploy(registry, Deployment(given.place), given.server)
    else:
        put_back(registry, Deployment(given.place), given.server)


if __name__ == "__main__":
    run(main)
