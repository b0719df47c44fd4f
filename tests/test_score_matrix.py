"""A matrix of scores: metrics of each detector, comparisons, and a fusion that is tested on generators it was not fitted on."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from explain_deepfakes.model_test_train.evaluation.score_matrix import assign_folds, fuse_for_unseen, read_matrix
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE

GENERATORS = ("FaceSwap", "Diffusion", "Talking")


def write_matrix(path: Path, videos: int = 300, gaps: float = 0.1) -> Path:
    """Three detectors: one good at everything, one good at one generator, one that guesses."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "label", "generator", "identities", "good", "narrow", "guess"])
        for number in range(videos):
            label = number % 2
            generator = GENERATORS[number // 2 % 3] if label else ""
            logits = (3 * label - 1.5, 4 * (generator == "FaceSwap") - 2, 0)
            scores = [f"{1 / (1 + np.exp(-value - rng.normal())):.4f}" for value in logits]
            scores = ["" if rng.random() < gaps else score for score in scores]
            writer.writerow([f"v{number}", ("real", "fake")[label], generator, f"p{number // 4}", *scores])
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, CODE / "model_test_train/evaluate_scores.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_each_detector_gets_metrics_by_generator_and_the_fusion_is_another_one(tmp_path: Path) -> None:
    scores, output = write_matrix(tmp_path / "matrix.csv"), tmp_path / "out"
    result = run(scores, "--by", "generator", "--fuse", "--bootstrap", "100", "--output_path", output)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((output / "metrics.json").read_text())
    assert list(metrics) == ["good", "narrow", "guess", "fused"]
    auc = {name: table["video"]["auc"]["value"] for name, table in metrics.items()}
    assert auc["good"] > 0.9
    assert 0.35 < auc["guess"] < 0.65
    assert auc["fused"] > auc["narrow"]
    by_generator = metrics["narrow"]["video_by_method"]
    assert set(by_generator) == set(GENERATORS)
    assert by_generator["FaceSwap"]["auc"]["value"] > 0.9 > by_generator["Diffusion"]["auc"]["value"]
    assert metrics["good"]["video"]["count"] < 300  # videos without its score are left out
    with (output / "comparison.csv").open() as file:
        pairs = {(row["a"], row["b"]): row for row in csv.DictReader(file)}
    assert len(pairs) == 6
    assert float(pairs["good", "guess"]["high"]) < 0
    assert float(pairs["good", "guess"]["p"]) < 0.001
    assert float(pairs["good", "guess"]["auc_a"]) > 0.9
    assert all(float(row["p"]) <= float(row["corrected_p"]) for row in pairs.values())


def test_the_fusion_of_a_video_never_saw_its_generator_or_its_people(tmp_path: Path) -> None:
    matrix = read_matrix(write_matrix(tmp_path / "matrix.csv"), "generator")
    assert matrix is not None
    fold = assign_folds(matrix, sorted(GENERATORS), seed=0)
    for number, generator in enumerate(sorted(GENERATORS)):
        tested = fold == number
        assert {m for m, t, label in zip(matrix.methods, tested, matrix.labels, strict=True) if t and label} == {generator}
        assert (matrix.labels[tested] == 0).any()
    fused = fuse_for_unseen(matrix, seed=0)
    assert np.array_equal(fused, fuse_for_unseen(matrix, seed=0), equal_nan=True)
    # Scores of the tested generator cannot change how the fusion for it was fitted.
    other = matrix.scores.copy()
    rows = np.array(matrix.methods) == "Diffusion"
    other[rows] = other[rows][::-1]
    changed = fuse_for_unseen(
        type(matrix)(matrix.videos, matrix.labels, matrix.methods, matrix.groups, matrix.detectors, other), seed=0
    )
    assert np.allclose(np.sort(changed[rows]), np.sort(fused[rows]), equal_nan=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v1,fake,1.5,0.2", "a score of a is 1.5; scores must be probabilities between 0 and 1"),
        ("v1,fake,high,0.2", "the score of a is 'high', not a number"),
        ("v1,perhaps,0.5,0.2", "the label of v1 is 'perhaps'"),
        ("v0,fake,0.5,0.2", "has several rows for v0"),
    ],
)
def test_bad_values_are_named(row: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "matrix.csv").write_text(f"video,label,a,b\nv0,real,0.1,0.2\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_matrix(tmp_path / "matrix.csv", None)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_bytes(b"\xff\xfe\x00" * 100)
    result = run(tmp_path / "scores.csv", "--output_path", tmp_path / "out")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert "is not a CSV in UTF-8; export it as one" in result.stderr


def test_rows_of_one_video_must_agree_on_its_label(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("video,label,score\nv0,real,0.1\nv0,fake,0.9\n")
    result = run(tmp_path / "scores.csv", "--output_path", tmp_path / "out")
    assert result.returncode == 2
    assert "some rows of v0 are labelled real, and some fake" in result.stderr


def test_a_table_with_one_column_of_probabilities_is_no_matrix(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("video,label,score,other\nv0,real,0.1,0.2\n")
    assert read_matrix(tmp_path / "scores.csv", None) is None
    with pytest.raises(UserError, match="has no column 'generator'; there are: video, label, score, other"):
        read_matrix(tmp_path / "scores.csv", "generator")


def test_a_fusion_for_unseen_generators_needs_two_of_them(tmp_path: Path) -> None:
    (tmp_path / "matrix.csv").write_text("video,label,a,b\nv0,real,0.1,0.2\nv1,fake,0.9,0.8\n")
    result = run(tmp_path / "matrix.csv", "--fuse", "--output_path", tmp_path / "out")
    assert result.returncode == 2
    assert "needs fakes of at least two of them; name their column with --by" in result.stderr
    assert not (tmp_path / "out").exists()
