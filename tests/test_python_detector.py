"""A Python file with `predict(path)` is a detector, and whatever it does costs only its own scores."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from explain_deepfakes.model_test_train.evaluation.python_detector import FailedScore, python_detector
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE


def detector(folder: Path, body: str) -> Path:
    (folder / "mine.py").write_text(f"import os\n\ndef predict(path):\n    {body}\n")
    return folder / "mine.py"


def test_the_function_scores_files_and_may_print(tmp_path: Path) -> None:
    with python_detector(detector(tmp_path, 'print("loading"); return len(os.path.basename(path)) / 10')) as mine:
        assert [mine.score(Path(name)) for name in ("a.mp4", "b/cc.mp4")] == [0.5, 0.6]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('raise ValueError("no face")', "ValueError: no face"),
        ("return 1.5", "predict returned 1.5, which is no probability"),
        ('return float("nan")', "predict returned nan"),
        ('return "fake"', "ValueError: could not convert string to float"),
        ("os._exit(3)", "the process of mine.py died with status 3"),
    ],
)
def test_a_failure_is_named_and_the_next_file_is_scored(body: str, message: str, tmp_path: Path) -> None:
    file = detector(tmp_path, f'if "bad" not in path: return 0.25\n    {body}')
    with python_detector(file) as mine:
        with pytest.raises(FailedScore, match=message):
            mine.score(Path("bad.mp4"))
        assert mine.score(Path("good.mp4")) == 0.25


@pytest.mark.parametrize(
    ("content", "message"), [("x = 1", r"has no function predict\(path\)"), ("import nothing_like_it", "could not be run")]
)
def test_a_file_that_is_no_detector_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(UserError, match=message), python_detector(tmp_path / "mine.py"):
        pass


def test_detectors_fill_the_columns_of_a_table(tmp_path: Path) -> None:
    for name in ("a.mp4", "bad.mp4"):
        (tmp_path / name).write_bytes(b"")
    first = detector(tmp_path, 'return 0.75 if "bad" not in path else None')
    command = [CODE / "serving/score_videos.py", "--detector", first, "--output", tmp_path / "scores.csv"]
    files = [tmp_path / "a.mp4", tmp_path / "bad.mp4"]
    result = subprocess.run(list(map(str, [sys.executable, *command, *files])), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "2 videos, 1 detectors, 1 scores missing" in result.stdout
    with (tmp_path / "scores.csv").open() as file:
        assert [row["mine"] for row in csv.DictReader(file)] == ["0.75", ""]
