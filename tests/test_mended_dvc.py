"""`make repro` recovers lock files that a killed DVC left incomplete, and leaves git clean after the demo."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TWO_STAGES = """
stages:
  first:
    cmd: cat input.txt > first.txt
    deps: [input.txt]
    outs: [first.txt]
  second:
    cmd: cat first.txt first.txt > second.txt
    deps: [first.txt]
    outs: [second.txt]
"""
REPRO = (sys.executable, "-m", "explain_deepfakes.pipeline.mended_dvc", "repro")
COMMIT = ("-c", "user.name=me", "-c", "user.email=me@here", "commit", "--quiet", "--all", "--message", "a run")


@pytest.fixture(scope="module")
def after_two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project under git, with the results of the first run committed."""
    folder = tmp_path_factory.mktemp("after_two_runs")
    (folder / "dvc.yaml").write_text(TWO_STAGES)
    run(folder, "git", "init", "--quiet")
    run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    for text in ("one", "two"):
        (folder / "input.txt").write_text(text)
        run(folder, sys.executable, "-m", "dvc", "repro")
        if text == "one":
            run(folder, "git", "add", "dvc.lock")
            run(folder, "git", *COMMIT)
    return folder


@pytest.fixture
def project(after_two_runs: Path, tmp_path: Path) -> Path:
    return shutil.copytree(after_two_runs, tmp_path / "project")


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert result.returncode == 0, result.stdout
    return result.stdout


def repro(folder: Path) -> str:
    return run(folder, *REPRO)


def test_claims_that_cannot_be_read_are_void(project: Path) -> None:
    claims = project / ".dvc/tmp/rwlock"
    claims.write_bytes(b"")
    output = repro(project)
    assert output.startswith("rwlock was left half-written by a killed run, and is removed\n")
    assert "Running stage" not in output


@pytest.mark.parametrize(
    ("written_until", "is_committed", "expected"),
    [
        ("schema", True, "dvc.lock was left half-written by a killed run, and is restored to the committed version; later"),
        ("hash", False, "dvc.lock was left half-written by a killed run, and is removed; later"),
        ("second:\n    cmd: cat first", False, "Stage 'second' is cached"),  # enough of the file can be read
    ],
)
def test_results_that_were_half_written_come_back_and_no_stage_is_run_again(
    project: Path, written_until: str, is_committed: bool, expected: str
) -> None:
    if not is_committed:
        run(project, "git", "rm", "--quiet", "--cached", "dvc.lock")
        run(project, "git", *COMMIT)
    results = project / "dvc.lock"
    content = results.read_bytes()
    results.write_bytes(content[: content.index(written_until.encode()) + len(written_until)])
    output = repro(project)
    assert expected in output
    assert "Running stage" not in output
    assert results.read_bytes() == content
    assert (project / "second.txt").read_text() == "twotwo"


def test_a_merge_that_is_not_done_is_left_to_who_merges(project: Path) -> None:
    results = project / "dvc.lock"
    merging = b"<<<<<<< ours\n" + results.read_bytes() + b"=======\n>>>>>>> theirs\n"
    results.write_bytes(merging)
    result = subprocess.run(REPRO, cwd=project, capture_output=True, check=False)
    assert result.returncode
    assert results.read_bytes() == merging


def test_outside_of_a_project_dvc_says_so(tmp_path: Path) -> None:
    result = subprocess.run(
        REPRO,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "you are not inside of a DVC repository" in result.stderr
    assert "Traceback" not in result.stderr


NOTHING_RUN = "schema: '2.0'\nstages: {}\n"  # dvc.lock as in the repository
DEMO = """
stages:
  first:
    cmd: cat params.yaml > first.txt
    params: [frames]
    outs: [first.txt]
"""


@pytest.fixture
def cloned(tmp_path: Path) -> Path:
    """A freshly cloned repository, whose dvc.lock lists no stage."""
    (tmp_path / "dvc.yaml").write_text(DEMO)
    (tmp_path / "params.yaml").write_text("frames: 16\n")
    (tmp_path / "dvc.lock").write_text(NOTHING_RUN)
    (tmp_path / ".gitignore").write_text("/first.txt\n")
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, sys.executable, "-m", "dvc", "init", "--quiet")
    run(tmp_path, "git", "add", "--all")
    run(tmp_path, "git", *COMMIT)
    return tmp_path


def changes(folder: Path) -> str:
    return run(folder, "git", "status", "--porcelain")


def test_a_first_run_of_the_demo_leaves_git_clean_and_dvc_up_to_date(cloned: Path) -> None:
    repro(cloned)
    assert changes(cloned) == ""
    assert "first.txt" in (cloned / "dvc.lock").read_text()
    assert "Data and pipelines are up to date" in run(cloned, sys.executable, "-m", "dvc", "status")


def test_results_of_own_settings_are_shown_by_git(cloned: Path) -> None:
    repro(cloned)
    (cloned / "params.yaml").write_text("frames: 32\n")
    repro(cloned)
    assert changes(cloned).split() == ["M", "dvc.lock", "M", "params.yaml"]
    run(cloned, "git", "add", "dvc.lock", "params.yaml")
    run(cloned, "git", *COMMIT)
    repro(cloned)
    assert changes(cloned) == ""
    assert "32" in run(cloned, "git", "show", "HEAD:dvc.lock")
