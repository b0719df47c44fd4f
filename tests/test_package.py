"""The installed package: the command explain-deepfakes, and the class Detector."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from little_videos import face_video

from explain_deepfakes import Detector, UserError
from explain_deepfakes.cli import COMMANDS
from explain_deepfakes.pipeline.project import CODE

PIP_WHEEL = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet")


def run_cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "explain_deepfakes.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_every_script_with_flags_is_a_subcommand() -> None:
    scripts = {
        f"{path.parent.name}.{path.stem}"
        for package in ("preprocessing", "model_test_train", "explain_model", "serving")
        for path in (CODE / package).glob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    former = {"model_test_train.cross_test", "model_test_train.robustness_test"}
    assert scripts - former == {command.module for command in COMMANDS.values()} - {"BWCluster.jobs"}


def test_the_command_lists_its_subcommands_and_passes_flags_on(tmp_path: Path) -> None:
    listed = run_cli(tmp_path, "--help")
    assert all(f"  {name} " in listed.stdout for name in COMMANDS)
    assert run_cli(tmp_path, "predict", "--help").stdout.startswith("usage: explain-deepfakes predict ")
    wrong = run_cli(tmp_path, "predicct")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "error: 'predicct' is not a command; `explain-deepfakes --help` lists them\n"
    missing = run_cli(tmp_path, "predict", "missing.mp4")
    assert (missing.returncode, missing.stderr) == (2, "error: there is no file missing.mp4\n")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_video(tmp_path_factory.mktemp("video") / "face.mp4", seed=1)


def test_a_detector_predicts_as_the_command_does(video: Path, tmp_path: Path) -> None:
    prediction = Detector.load(frames=3).predict(str(video))
    assert prediction.verdict in ("real", "fake")
    assert prediction.fake_probability is not None
    (person,) = prediction.people
    assert len(person.faces) == 3
    heatmaps = prediction.heatmaps()[person.track]
    for face, heatmap in zip(person.faces, heatmaps, strict=True):
        left, top, right, bottom = face.box
        assert face.crop.shape[:2] == heatmap.shape == (bottom - top, right - left)
        assert 0 <= heatmap.min() <= heatmap.max() <= 1
    prediction.write_report(tmp_path / "ours.html")
    result = run_cli(tmp_path, "predict", str(video), "--frames", "3", "--report", "theirs.html")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "ours.json").read_text() == (tmp_path / "theirs.json").read_text()


def test_a_file_that_is_missing_or_is_no_video_is_an_error_in_words(tmp_path: Path) -> None:
    detector = Detector.load()
    with pytest.raises(UserError, match="there is no file"):
        detector.predict(tmp_path / "missing.mp4")
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(UserError, match="cannot be opened as a video"):
        detector.predict(tmp_path / "notes.mp4")
    assert np.isfinite(detector.examiner.rule.threshold)


def test_the_wheel_has_all_files_and_only_one_top_level_module(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CODE, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):  # a copy, since building leaves files behind
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CODE / name, tmp_path / name, follow_symlinks=False)
    subprocess.run([*PIP_WHEEL, "-w", "wheel", "."], cwd=tmp_path, check=True, timeout=300)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"explain_deepfakes"}
    needed = ("params.yaml", "dvc.yaml", "detector/faces.safetensors", "detector/tests/metrics.json", "serving/page/index.html")
    needed += ("explain_model/report.html.j2", "explain_model/report.css", "model_test_train/configs/faces.yaml", "py.typed")
    assert {f"explain_deepfakes/{name}" for name in needed} <= names


def test_the_links_of_the_package_are_no_second_pipeline() -> None:
    command = [sys.executable, "-m", "dvc", "stage", "list", "--recursive", "--name-only"]
    stages = subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=True).stdout.split()
    assert "train" in stages
    assert not any("explain_deepfakes" in stage for stage in stages)
