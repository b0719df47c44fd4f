"""The model registry: versions of a detector, their tests, and which of them is in production."""

import contextlib
import fcntl
import getpass
import json
import shutil
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from explain_deepfakes.model_test_train.networks.checkpoint import read_card
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import atomic_write, write_text
from explain_deepfakes.serving.models.deployment import Deployment
from explain_deepfakes.serving.models.params import MARGIN

CANDIDATE, PRODUCTION, ARCHIVED = "candidate", "production", "archived"
ADD, PROMOTE, DEPLOY, RETURN = "add", "promote", "deploy", "return"  # actions in the history
TEST_FILES = ("protocol.json", "metrics.json", "videos.csv", "frames.csv")  # those that a comparison needs
DRAWS = 2000
MODEL, RECORD, HISTORY, LOCK = "model.safetensors", "version.json", "history.jsonl", "registry.lock"


class ActionDetails(TypedDict, total=False):
    """The fields of an event that depend on the action."""

    forced: bool
    words: str
    before: int | None
    to: str


class Event(ActionDetails):
    """One line of the history."""

    at: str
    by: str
    did: str
    version: int
    sha256: str


@dataclass(frozen=True)
class Version:
    number: int
    name: str
    sha256: str
    trained_on: list[str]
    warning: str | None
    auc: float | None  # by video; None if it was not tested
    stage: str = CANDIDATE

    def line(self) -> str:
        test = "not tested" if self.auc is None else f"AUC {self.auc:.3f}"
        return f"{self.number:>4}  {self.stage:<11} {self.name:<36} {test:<11} {self.sha256[:12]}"


def stage_of(number: int, promoted: list[int]) -> str:
    if number not in promoted:
        return CANDIDATE
    return PRODUCTION if number == promoted[-1] else ARCHIVED


class Registry:
    """A folder with an immutable folder for each version, and the history, from which the versions' stages follow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the registry against changes by other commands; the lock ends with its process, even if that is killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def versions(self) -> list[Version]:
        numbers = sorted(int(path.parent.name) for path in self.folder.glob(f"*/{RECORD}") if path.parent.name.isdigit())
        promoted = [event["version"] for event in self.history() if event["did"] == PROMOTE]
        records = {number: json.loads((self.folder / str(number) / RECORD).read_text()) for number in numbers}
        return [Version(**record, stage=stage_of(number, promoted)) for number, record in records.items()]

    def history(self) -> list[Event]:
        """All events, oldest first."""
        path = self.folder / HISTORY
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def get(self, number: int) -> Version:
        versions = {version.number: version for version in self.versions()}
        if number not in versions:
            raise UserError(f"there is no version {number}; there are: {', '.join(map(str, versions)) or 'none'}")
        return versions[number]

    def with_hash(self, sha256: str) -> Version | None:
        return next((version for version in self.versions() if version.sha256 == sha256), None)

    def in_production(self) -> Version | None:
        return next((version for version in self.versions() if version.stage == PRODUCTION), None)

    def path(self, version: Version) -> Path:
        return self.folder / str(version.number)

    def add(self, model: Path, tests: Path | None) -> Version:
        """Register a checkpoint as the next version, a candidate; refuse a file that is registered already."""
        card, sha256, auc = read_card(model), content_hash(model), None
        if tests:
            protocol = json.loads((tests / "protocol.json").read_text())
            if protocol["checkpoint"] != sha256:
                raise UserError(f"{tests} is the test of another checkpoint ({protocol['model']})")
            auc = json.loads((tests / "metrics.json").read_text())["video"]["auc"]["value"]
        with self._locked():
            if existing := self.with_hash(sha256):
                raise UserError(f"{model} is version {existing.number} already")
            number = max((version.number for version in self.versions()), default=0) + 1
            version = Version(number, card.name, sha256, card.trained_on, card.warning, auc)
            self._store(version, model, tests)
            self._append(ADD, version, {})
        return version

    def _store(self, version: Version, model: Path, tests: Path | None) -> None:
        with atomic_write(self.path(version)) as unfinished:
            (unfinished / "tests").mkdir(parents=True)
            shutil.copy(model, unfinished / MODEL)
            if tests:
                for name in TEST_FILES:
                    shutil.copy(tests / name, unfinished / "tests" / name)
            record = {name: value for name, value in asdict(version).items() if name != "stage"}
            (unfinished / RECORD).write_text(json.dumps(record, indent=1))

    def promote(self, number: int, force: bool, margin: float = MARGIN) -> str:
        """Put a version into production; return the comparison with the previous one in words."""
        version = self.get(number)
        with self._locked():  # also during the comparison, so that the version in production stays the same
            previous = self.in_production()
            if previous and previous.number == number:
                raise UserError(f"version {number} is in production already")
            words, may_be_worse = self.compare(previous, version, margin) if previous else ("it is the first", False)
            if may_be_worse and not force:
                raise UserError(
                    f"version {number} is not promoted: {words} Use --force to promote it anyway; the history records that."
                )
            before = previous.number if previous else None
            self._append(PROMOTE, version, {"forced": may_be_worse, "words": words, "before": before})
        return words

    def compare(self, previous: Version, version: Version, margin: float) -> tuple[str, bool]:
        """The comparison in words, and whether the loss of AUC may exceed the margin, by its confidence interval."""
        from explain_deepfakes.model_test_train.evaluation.model_comparison import (  # slow, and only needed here
            check_comparable,
            compare_tested_models,
            describe_differences,
            read_tested_model,
        )

        tests = [self.path(side) / "tests" for side in (previous, version)]
        for side, folder in zip((previous, version), tests, strict=True):
            if not (folder / "protocol.json").is_file():
                return f"version {side.number} was added without a test (--tests), so it cannot be compared.", True
        a, b = (read_tested_model(folder, 0.5) for folder in tests)
        try:
            check_comparable(a, b)
        except UserError as error:
            return f"{error}.", True
        differences = compare_tested_models(a, b, DRAWS, 0)
        words = describe_differences(
            f"version {previous.number}", f"version {version.number}", len(a.table.scores), differences
        )
        auc = next(difference for difference in differences if difference.metric == "auc")
        may_be_worse = bool(np.isnan(auc.low) or auc.low < -margin)
        if may_be_worse:
            words += f" A loss of more than {margin:g} in AUC is not ruled out."
        return words, may_be_worse

    def record(self, action: str, version: Version, details: ActionDetails) -> None:
        """Add an event to the history."""
        with self._locked():
            self._append(action, version, details)

    def _append(self, action: str, version: Version, details: ActionDetails) -> None:
        """Add an event to the history, which is rewritten as a whole; the caller must hold the lock."""
        event: Event = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "by": getpass.getuser(),
            "did": action,
            "version": version.number,
            "sha256": version.sha256,
            **details,
        }
        write_text(self.folder / HISTORY, "".join(json.dumps(line) + "\n" for line in [*self.history(), event]))


def print_versions(registry: Registry) -> None:
    versions = registry.versions()
    for version in versions:
        print(version.line())
    if not versions:
        print(f"there is no version in {registry.folder}; add a checkpoint with `add`")


def deploy(registry: Registry, deployment: Deployment, server: str | None) -> None:
    """Install the version in production."""
    version = registry.in_production()
    if not version:
        raise UserError("no version is in production; promote one with `promote`")
    name = f"{version.number}_{version.sha256[:12]}.safetensors"
    deployment.install(registry.path(version) / MODEL, version.sha256, name, server)
    registry.record(DEPLOY, version, {"to": str(deployment.folder)})
    print(f"version {version.number} is active at {deployment.current}")


def restore(registry: Registry, deployment: Deployment, server: str | None) -> None:
    """Activate the previously deployed checkpoint."""
    file, sha256 = deployment.restore(server)
    if version := registry.with_hash(sha256):
        registry.record(RETURN, version, {"to": str(deployment.folder)})
    print(f"{file.name} is active again" + ("" if version else f"; it is not registered in {registry.folder}"))


def run_registry_command(args: Namespace) -> None:
    registry = Registry(args.registry)
    if args.command == "add":
        print(registry.add(args.model, args.tests).line())
    elif args.command == "list":
        print_versions(registry)
    elif args.command == "promote":
        print(f"version {args.version} is in production: {registry.promote(args.version, args.force, args.margin)}")
    elif args.command == "deploy":
        deploy(registry, Deployment(args.folder), args.server)
    else:
        restore(registry, Deployment(args.folder), args.server)
