"""Score tables are read, or refused with a message; a comparison reports differences only where two networks differ."""

import csv
import json
import sys
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest
from little_crops import project_of_crops
from sklearn.metrics import roc_auc_score
from warm_commands import run_warm

from explain_deepfakes.model_test_train import compare_models, evaluate_scores
from explain_deepfakes.model_test_train.evaluation.model_comparison import Row
from explain_deepfakes.model_test_train.evaluation.score_tables import read_scores
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE


class Comparison(TypedDict):
    """The fields of comparison.json that the tests read."""

    words: str
    differences: list[Row]


def write_table(path: Path, columns: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (["video", "label", "fake_probability"], [["a", 1, 0.9], ["b", 0, 0.2]]),
        (["Filename", "target", "Score", "more"], [["a", "FAKE", 0.9, ""], ["b", "real", 0.2, ""]]),
        (["path", "y_true", "prob"], [["a", "1.0", 0.8], ["b", "0.0", 0.2], ["a", "1.0", 1.0]]),
        (["video", "label", "fake_probability"], [["a", 1, 0.9], ["b", 0, 0.2], ["no face", 1, ""]]),
    ],
)
def test_tables_by_common_names_are_read(tmp_path: Path, columns: list[str], rows: list[list[object]]) -> None:
    table = read_scores(write_table(tmp_path / "scores.csv", columns, rows), threshold=0.5)
    assert [(score.name, score.label, round(score.probability, 6), score.called_fake) for score in table.scores] == [
        ("a", 1, 0.9, True),
        ("b", 0, 0.2, False),
    ]
    assert not table.has_people


def test_people_of_a_table_make_groups(tmp_path: Path) -> None:
    rows: list[list[object]] = [["a", 1, 0.9, "1 2"], ["b", 0, 0.2, "2"], ["c", 0, 0.2, "3"]]
    table = read_scores(write_table(tmp_path / "t.csv", ["video", "label", "score", "identities"], rows), 0.5)
    first, second, third = (score.group for score in table.scores)
    assert first == second != third
    assert table.has_people


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        (["video", "label"], ["a", 1], "no column for the probability .* there are: video, label"),
        (["video", "label", "score"], ["a", "maybe", 0.5], "the label of a is 'maybe'"),
        (["video", "label", "score"], ["a", 1, "high"], "the probability of a is 'high', not a number"),
        (["video", "label", "score"], ["a", 1, 1.5], "the probability of a is 1.5; it must be between 0 and 1"),
        (["video", "label", "score"], ["a", 1, "nan"], "the probability of a is nan"),
        (["video", "label", "score"], ["a", 1, ""], "has no video with a probability"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, columns: list[str], row: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_scores(write_table(tmp_path / "scores.csv", columns, [row]), 0.5)


def test_scores_of_any_source_get_metrics_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = np.clip(0.3 * labels + 0.7 * rng.random(60), 0, 1)
    rows = [[f"v{n}", label, score] for n, (label, score) in enumerate(zip(labels, scores, strict=True))]
    table = write_table(tmp_path / "peer.csv", ["name", "label", "score"], rows)
    monkeypatch.setattr(sys, "argv", ["x", str(table), "--output_path", str(tmp_path / "out"), "--bootstrap", "50"])
    evaluate_scores.main()
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["video"]
    assert metrics["auc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert {"roc_curve.png", "histogram.png", "calibration.png"} < {path.name for path in (tmp_path / "out").iterdir()}


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks that differ in the seed, each tested on the validation videos."""
    recipe = {"warmup_epochs": 0.0, "lr": 0.005}
    folder = project_of_crops(tmp_path_factory.mktemp("compared") / "project", 10, 6, recipe, {"num_epochs": 2})
    for name, flags in {"one": ["--seed", "1"], "two": ["--seed", "2"]}.items():
        command(folder, "train_model", *flags, "--output_path", name)
        common = ["--split", "validation_set", "--bootstrap", "100", "--model_path", f"{name}/best.safetensors"]
        command(folder, "test_model", *common, "--output_path", f"{name}/tests")
    return folder


def command(folder: Path, name: str, *flags: str) -> None:
    result = run_warm(CODE / f"model_test_train/{name}.py", flags, folder)
    assert result.returncode == 0, result.stderr


def compare(folder: Path, a: str, b: str, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["x", "--a", f"{a}/tests", "--b", f"{b}/tests", "--output_path", "comparison"])
    compare_models.main()
    comparison: Comparison = json.loads((folder / "comparison/comparison.json").read_text())
    return comparison


def test_two_seeds_of_one_network_do_not_differ(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compare(tested, "one", "two", monkeypatch)
    assert "no metric differs significantly" in comparison["words"]
    assert {row["test"] for row in comparison["differences"]} == {"DeLong", "McNemar", "paired bootstrap"}


def test_what_was_not_tested_alike_is_not_compared(tested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["--split", "validation_set", "--bootstrap", "10", "--model_path", "one/best.safetensors"]
    command(tested, "test_model", *common, "--frames_per_video", "2", "--output_path", "few/tests")
    with pytest.raises(UserError, match="not tested under the same conditions: frames_per_video is 16 for A and 2 for B"):
        compare(tested, "one", "few", monkeypatch)
    rows: list[list[object]] = [["v1", 1, 0.5], ["v2", 0, 0.5]]
    (tested / "other").mkdir(exist_ok=True)
    write_table(tested / "other/scores.csv", ["video", "label", "score"], rows)
    monkeypatch.setattr(sys, "argv", ["x", "--a", "one/tests", "--b", "other/scores.csv"])
    with pytest.raises(UserError, match="were not tested on the same videos"):
        compare_models.main()
