"""Known datasets are listed with their terms, and fetched by their official tools after the terms were accepted."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from layout_trees import faceforensics

from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.corpus.dataset_download import CHECKSUMS
from explain_deepfakes.preprocessing.corpus.known_datasets import KNOWN_DATASETS
from explain_deepfakes.preprocessing.corpus.layouts import ALIASES, LAYOUTS


def run_datasets(folder: Path, *arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}", "PYTHONPATH": f"{path}:{CODE}"} if path else {})
    command = [sys.executable, CODE / "preprocessing/datasets.py", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=environment, stdin=subprocess.DEVNULL
    )


def test_every_known_dataset_is_listed_and_described(tmp_path: Path) -> None:
    listed = run_datasets(tmp_path).stdout
    for name, dataset in KNOWN_DATASETS.items():
        assert f"{name} " in listed
        assert dataset.page.startswith("https://")
        assert dataset.layout in (*LAYOUTS, *ALIASES) or dataset.layout.startswith("a manifest")
    shown = run_datasets(tmp_path, "show", "celebdf").stdout
    assert "there is no public tool" in shown
    assert "index --data_path FOLDER --validate" in shown
    assert "'CELEB' is not a known dataset; there are: FACEFORENSICS, DFDC" in run_datasets(tmp_path, "show", "CELEB").stderr


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A stand-in for the download script of FaceForensics++: copies a tree, and fails the first time, after half of it."""
    faceforensics(tmp_path / "server")
    path = tmp_path / "download-FaceForensics.py"
    path.write_text(
        "import pathlib, shutil, sys\n"
        "output, *flags = sys.argv[1:]\n"
        "assert flags == ['-d', 'all', '-c', 'c23', '-t', 'videos'], flags\n"
        f"parts = sorted(pathlib.Path({str(tmp_path / 'server')!r}).iterdir())\n"
        "begun = any(pathlib.Path(output).iterdir())\n"
        "for part in parts if begun else parts[:1]:\n"
        "    shutil.copytree(part, pathlib.Path(output, part.name), dirs_exist_ok=True)\n"
        "sys.exit(not begun)\n"
    )
    return path


def test_fetching_needs_the_terms_and_the_script(tmp_path: Path, script: Path) -> None:
    output = tmp_path / "ff"
    fetch = ("fetch", "FACEFORENSICS", "--output_path", output)
    assert "needs the script that its authors send you" in run_datasets(tmp_path, *fetch).stderr
    refused = run_datasets(tmp_path, *fetch, "--script", script)
    assert (refused.returncode, output.exists()) == (2, False)
    assert "nothing was downloaded: read the terms, and add --accept_terms" in refused.stderr
    assert "https://github.com/ondyari/FaceForensics" in refused.stdout
    assert (
        "there is no public tool to download it" in run_datasets(tmp_path, "fetch", "CELEBDF", "--output_path", output).stderr
    )


def test_an_interrupted_download_resumes_and_is_validated(tmp_path: Path, script: Path) -> None:
    output = tmp_path / "ff"
    fetch = ("fetch", "FACEFORENSICS", "--output_path", output, "--script", script, "--accept_terms")
    interrupted = run_datasets(tmp_path, *fetch)
    assert interrupted.returncode == 2
    assert "the download did not finish" in interrupted.stderr
    done = run_datasets(tmp_path, *fetch)
    assert "FACEFORENSICS in " in done.stdout, done.stderr
    assert done.stdout.strip().endswith("6 problems: 6 missing files"), done.stdout  # fakes in the other direction
    assert "is downloaded, but not ready yet" in done.stderr
    lines = (output / CHECKSUMS).read_text().splitlines()
    assert len(lines) == len([path for path in output.rglob("*") if path.is_file()]) - 1
    changed = next(output.rglob("000.mp4"))
    changed.write_bytes(b"damaged")
    script.write_text("")  # keeps the damaged file, as a tool does that only looks whether a file exists
    assert f"SHA256SUMS: {changed.relative_to(output)}; delete them" in run_datasets(tmp_path, *fetch).stderr


def test_an_lmdb_of_deepfakebench_is_unpacked(tmp_path: Path) -> None:
    import lmdb
    import numpy as np

    folder = r"FaceForensics++\original_sequences\youtube\c23"
    landmarks = np.arange(162, dtype=np.float32).reshape(81, 2)
    values = {f"{folder}\\frames\\000\\012.png": b"picture", f"{folder}\\landmarks\\000\\012.npy": landmarks.tobytes()}
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    output = tmp_path / "rgb"
    done = run_datasets(tmp_path, "unpack", tmp_path / "lmdb", "--output_path", output)
    assert "2 files in" in done.stdout, done.stderr
    video = output / "FaceForensics++/original_sequences/youtube/c23"
    assert (video / "frames/000/012.png").read_bytes() == b"picture"
    assert np.array_equal(np.load(video / "landmarks/000/012.npy"), landmarks)
    with lmdb.open(str(tmp_path / "lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(rb"..\..\stolen.png", b"x")
    assert "is not a path below a folder" in run_datasets(tmp_path, "unpack", tmp_path / "lmdb", "--output_path", output).stderr
    (tmp_path / "text.lmdb").write_text("no database")
    assert "is not an LMDB" in run_datasets(tmp_path, "unpack", tmp_path / "text.lmdb", "--output_path", output).stderr


def test_tools_of_kaggle_and_of_the_hub_are_called(tmp_path: Path) -> None:
    tools, output = tmp_path / "tools", tmp_path / "out"
    tools.mkdir()
    without = run_datasets(tmp_path, "fetch", "DFDC", "--output_path", output, "--accept_terms")
    assert "the tool 'kaggle' is not installed; run `pip install kaggle`" in without.stderr
    kaggle = tools / "kaggle"
    kaggle.write_text('#!/bin/sh\necho "kaggle $@"\n')
    kaggle.chmod(kaggle.stat().st_mode | stat.S_IXUSR)
    (tools / "huggingface_hub.py").write_text("def snapshot_download(*args, **more): print('hub', args, sorted(more))\n")
    called = run_datasets(tmp_path, "fetch", "DFDC", "--output_path", output, "--accept_terms", path=tools)
    assert f"kaggle competitions download -c deepfake-detection-challenge -p {output}" in called.stdout
    assert "is downloaded, but not ready yet" in called.stderr
    called = run_datasets(tmp_path, "fetch", "LAVDF", "--output_path", output, "--accept_terms", path=tools)
    assert "hub ('ControlNet/LAV-DF',) ['local_dir', 'repo_type']" in called.stdout
