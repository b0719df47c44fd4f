"""File names may have the maximum length of 255 bytes; a Chinese character takes three."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Project

from explain_deepfakes.preprocessing.corpus.layouts import AUTO

LONG = {"real": "字" * 78, "fake": "字" * 77 + "偽"}  # 238 bytes with .mp4


@pytest.fixture(scope="module")
def project(finished: Project, fake: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two videos with long names, after index_videos and detect_faces."""
    folder = tmp_path_factory.mktemp("long")
    source = {"data_path": str(folder / "videos"), "dataset": AUTO}
    settings = {"index_videos": source, "detect_faces": {"frames": 2, "workers": 1}, "extract_crops": {"workers": 1}}
    project = Project(folder / "project", settings)
    for kind, name in LONG.items():
        (folder / "videos" / kind).mkdir(parents=True)
        shutil.copy(fake if kind == "fake" else an_original(finished), folder / "videos" / kind / f"{name}.mp4")
    project.stage("preprocessing/index_videos.py")
    project.stage("preprocessing/detect_faces.py")
    return project


def an_original(finished: Project) -> Path:
    return next((finished.folder / "data/videos/original_sequences").rglob("*.mp4"))


@pytest.mark.parametrize("store", ["folders", "archives"])
def test_the_crops_of_a_video_with_a_long_name_are_cut_out(project: Project, store: str) -> None:
    project.stage("preprocessing/extract_crops.py", "--store", store, "--output_path", store)
    output = project.folder / store
    assert (output / "failures.csv").read_text() == "file,reason,remedy\n"
    names = {path.stem for path in output.glob("*/*/*")}
    assert len(names) == len(LONG)
    assert all(name.startswith("字" * 60) for name in names)
    assert not list(project.folder.rglob("*.part*"))


def test_the_evidence_of_a_video_with_a_long_name_is_written(finished: Project, project: Project, tmp_path: Path) -> None:
    video = project.folder.parent / "videos/fake" / f"{LONG['fake']}.mp4"
    finished.stage("serving/predict.py", video, "--report", tmp_path / "pages", "--demo")
    (facts,) = (json.loads(path.read_text()) for path in (tmp_path / "pages").glob("*.json"))
    assert facts["file"] == video.name
    assert len(list((tmp_path / "pages").glob("*.html"))) == 1
