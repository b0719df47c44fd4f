"""A report is verified only against the file and the checkpoint that it is about."""

import shutil
from pathlib import Path

import pytest
from conftest import Project
from small_checkpoints import noisy_checkpoint

from explain_deepfakes.pipeline.ledger import content_hash

BEST = "data/models/best.safetensors"


@pytest.fixture(scope="module")
def report(finished: Project, fake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("evidence") / "page.html"
    finished.stage("serving/predict.py", fake, "--report", page, "--model_path", BEST)
    return page.with_suffix(".json")


def test_another_file_is_named_in_one_line_and_nothing_else(
    finished: Project, fake: Path, report: Path, tmp_path: Path
) -> None:
    other_video = next(path for path in sorted(fake.parent.iterdir()) if path != fake)
    same_pictures = tmp_path / "copy.mp4"
    same_pictures.write_bytes(fake.read_bytes() + b"\0\0\0\x08free")
    for file in (other_video, same_pictures):
        result = finished.run("serving/verify.py", file, report)
        assert result.returncode == 1, result.stderr
        (line,) = result.stdout.splitlines()
        assert line.startswith(f"{file} is not the file that the report is about (SHA-256 {content_hash(file)}; in the report ")
        assert content_hash(fake) in line


def test_another_checkpoint_is_named_in_one_line_and_nothing_else(
    finished: Project, fake: Path, report: Path, tmp_path: Path
) -> None:
    other_checkpoint = noisy_checkpoint(finished, tmp_path, noise=1e-6) / "model.safetensors"
    result = finished.run("serving/verify.py", fake, report, "--model_path", other_checkpoint)
    assert result.returncode == 1, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith(
        f"{other_checkpoint} is not the checkpoint that the report is about (SHA-256 {content_hash(other_checkpoint)}; "
    )


def test_the_same_file_and_checkpoint_elsewhere_are_the_same(
    finished: Project, fake: Path, report: Path, tmp_path: Path
) -> None:
    shutil.copy(fake, tmp_path / "renamed.mp4")
    shutil.copy(finished.folder / BEST, tmp_path / "renamed.safetensors")
    flags = ("--model_path", tmp_path / "renamed.safetensors")
    assert finished.stage("serving/verify.py", tmp_path / "renamed.mp4", report, *flags).startswith("the same: ")
    result = finished.run("serving/verify.py", fake, report, "--model_path", tmp_path / "none.safetensors")
    assert (result.returncode, "there is no checkpoint" in result.stderr) == (2, True)
