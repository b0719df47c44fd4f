"""The model registry: a worse model is not promoted, a broken one is rolled back, and no request fails meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import Project
from little_server import Server, serving
from small_checkpoints import noisy_checkpoint

from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint, save_checkpoint
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.serving.models.deployment import Deployment
from explain_deepfakes.serving.models.registry import ARCHIVED, CANDIDATE, MODEL, PRODUCTION, Registry

BEST = "data/models/best.safetensors"


@pytest.fixture(scope="module")
def worse(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy_checkpoint(finished, tmp_path_factory.mktemp("worse"), noise=1)


@pytest.fixture(scope="module")
def as_good(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy_checkpoint(finished, tmp_path_factory.mktemp("as_good"), noise=1e-6)


@pytest.fixture(scope="module")
def broken(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that loads, but gives NaN."""
    path = tmp_path_factory.mktemp("broken") / "broken.safetensors"
    network, card = load_checkpoint(finished.folder / BEST, torch.device("cpu"))
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(torch.nan)
    save_checkpoint(path, network, card)
    return path


@pytest.fixture
def registry(finished: Project, tmp_path: Path) -> Registry:
    """A registry with one version, in production."""
    registry = Registry(tmp_path / "registry")
    registry.add(finished.folder / BEST, finished.folder / "results/tests")
    registry.promote(1, force=False)
    return registry


def stages(registry: Registry) -> list[str]:
    return [version.stage for version in registry.versions()]


def test_a_worse_one_is_promoted_by_force_alone_and_that_is_noted(registry: Registry, worse: Path) -> None:
    version = registry.add(worse / "model.safetensors", worse / "tests")
    with pytest.raises(UserError, match="version 2 is not promoted: .*AUC"):
        registry.promote(2, force=False)
    assert stages(registry) == [PRODUCTION, CANDIDATE]
    registry.promote(2, force=True)
    assert stages(registry) == [ARCHIVED, PRODUCTION]
    assert [line["forced"] for line in registry.history() if line["did"] == "promote"] == [False, True]
    assert registry.history()[-1]["sha256"] == version.sha256


def test_one_that_is_as_good_is_promoted(registry: Registry, as_good: Path) -> None:
    registry.add(as_good / "model.safetensors", as_good / "tests")
    assert "version 1" in registry.promote(2, force=False)
    assert stages(registry) == [ARCHIVED, PRODUCTION]


def test_what_a_killed_command_left_does_no_harm(registry: Registry, as_good: Path) -> None:
    (registry.folder / ".2.77.part").mkdir()
    (registry.folder / ".2.77.part/version.json").write_text("{")
    assert stages(registry) == [PRODUCTION]
    registry.add(as_good / "model.safetensors", as_good / "tests")
    registry.promote(2, force=False)
    assert stages(registry) == [ARCHIVED, PRODUCTION]


def test_what_cannot_be_compared_is_not_promoted(finished: Project, registry: Registry, broken: Path) -> None:
    registry.add(broken, None)
    with pytest.raises(UserError, match="was added without a test"):
        registry.promote(2, force=False)
    with pytest.raises(UserError, match="is version 2 already"):
        registry.add(broken, None)
    with pytest.raises(UserError, match="is the test of another checkpoint"):
        Registry(registry.folder / "other").add(broken, finished.folder / "results/tests")


def test_the_command_tells_what_there_is(finished: Project, registry: Registry, tmp_path: Path) -> None:
    command = ("serving/registry.py", "--registry", registry.folder)
    assert "1  production" in finished.stage(*command, "list")
    assert "version 1 is active at" in finished.stage(*command, "deploy", tmp_path / "deployment")
    assert "there is no version 7; there are: 1" in finished.run(*command, "promote", 7).stderr
    assert "there is no previous checkpoint" in finished.run(*command, "return", tmp_path / "deployment").stderr


def test_what_answers_again_is_noted_too(finished: Project, registry: Registry, as_good: Path, tmp_path: Path) -> None:
    command, deployment_folder = ("serving/registry.py", "--registry", registry.folder), tmp_path / "deployment"
    finished.stage(*command, "deploy", deployment_folder)
    registry.add(as_good / "model.safetensors", as_good / "tests")
    registry.promote(2, force=False)
    finished.stage(*command, "deploy", deployment_folder)
    assert "is active again" in finished.stage(*command, "return", deployment_folder)
    assert [(line["did"], line["version"]) for line in registry.history()][-2:] == [("deploy", 2), ("return", 1)]


@contextmanager
def constant_requests(server: Server, video: Path) -> Iterator[list[str]]:
    """Send videos continuously; yields the outcomes."""
    ends, outcomes = threading.Event(), []

    def send_videos() -> None:
        while not ends.is_set():
            begun = server.send(video)
            outcomes.append(
                server.wait_until_over(begun.json()["links"]["self"])["state"] if begun.status == 202 else begun.status
            )

    threads = [threading.Thread(target=send_videos) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def test_a_broken_one_gives_way_to_the_one_before_and_no_request_fails(
    finished: Project,
    fake: Path,
    registry: Registry,
    worse: Path,
    broken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment = Deployment(tmp_path / "deployment")
    good = registry.get(1)
    deployment.install(registry.path(good) / MODEL, good.sha256, "good.safetensors", None)
    other_version = registry.add(worse / "model.safetensors", None)
    flags = ("--model_path", deployment.current, "--jobs", tmp_path / "jobs", "--workers", 1)
    with serving(finished.folder, *flags) as server:
        address = f"http://127.0.0.1:{server.port}"
        with constant_requests(server, fake) as outcomes:
            bad = registry.add(broken, None)
            with pytest.raises(UserError, match="not finite"):
                deployment.install(broken, bad.sha256, "broken.safetensors", address)
            assert server.get("/version").json()["sha256"] == good.sha256

            with (
                monkeypatch.context() as patched,
                pytest.raises(UserError, match=r"refuses it: .*good.safetensors is active again"),
            ):
                patched.setattr(
                    "explain_deepfakes.serving.models.deployment.check_checkpoint", lambda *_: None
                )  # as if it worked on one machine but not on the other
                deployment.install(broken, bad.sha256, "broken.safetensors", address)
            assert server.get("/version").json()["sha256"] == good.sha256

            deployment._link_to(tmp_path / "deployment/broken.safetensors")  # by hand, without any checks
            server.wait_for_field("/version", "refused")
            assert server.get("/version").json()["sha256"] == good.sha256
            deployment._link_to(tmp_path / "deployment/good.safetensors")

            deployment.install(worse / "model.safetensors", other_version.sha256, "other.safetensors", address)
            assert server.get("/version").json()["sha256"] == other_version.sha256
            assert deployment.restore(address)[0].name == "good.safetensors"
            assert server.get("/version").json()["sha256"] == good.sha256
    assert set(outcomes) == {"done"}
    assert len(outcomes) > 3
