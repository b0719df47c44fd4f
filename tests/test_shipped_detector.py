"""The detector that ships with the project: its model card is true, and it is the default model."""

import json
from pathlib import Path

import pytest
from conftest import Project
from little_server import serving

from explain_deepfakes.model_test_train.networks.checkpoint import PORTRAITS_WARNING, read_card
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.serving.models.default_model import SHIPPED

MOST_BYTES = 12_000_000
TESTS = SHIPPED.parent / "tests"


def test_its_test_is_its_own_and_on_people_who_were_not_trained_on() -> None:
    protocol = json.loads((TESTS / "protocol.json").read_text())
    assert protocol["checkpoint"] == content_hash(SHIPPED)
    assert (protocol["split"], protocol["trained_on"]) == ("test_set", ["PORTRAITS"])
    assert SHIPPED.stat().st_size <= MOST_BYTES


def test_it_never_saw_crf_above_31_in_training() -> None:
    augmentation = read_card(SHIPPED).description["augmentation"]
    assert augmentation["codec"]["worst"] <= 31


@pytest.mark.parametrize("metric", ["auc", "false_alarm_rate", "miss_rate"])
def test_the_model_card_has_the_metrics_of_the_test(metric: str) -> None:
    metrics = json.loads((TESTS / "metrics.json").read_text())["video"][metric]
    card = (SHIPPED.parent / "README.md").read_text()
    assert f"{metrics['value']:.3f} ({metrics['low']:.3f} to {metrics['high']:.3f})" in card


def test_it_answers_where_no_other_is_named_with_its_metrics(finished: Project, fake: Path) -> None:
    (facts,) = json.loads(finished.stage("serving/predict.py", fake, "--json"))
    assert facts["judged_by"]["sha256"] == content_hash(SHIPPED)
    assert facts["warning"] == PORTRAITS_WARNING
    metrics = json.loads((TESTS / "metrics.json").read_text())["video"]
    assert facts["tested"]["auc"] == metrics["auc"]
    output = finished.stage("serving/predict.py", fake)
    assert f"tested on {metrics['count']} videos: AUC {metrics['auc']['value']:.3f}" in output


def test_a_report_of_it_is_verified_without_naming_it(finished: Project, fake: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    finished.stage("serving/predict.py", fake, "--report", page)
    assert "not on generated video" in page.read_text()
    assert finished.stage("serving/verify.py", fake, page.with_suffix(".json")).startswith("the same: ")


def test_the_server_answers_with_it(finished: Project, tmp_path: Path) -> None:
    with serving(finished.folder, "--jobs", tmp_path / "jobs", "--workers", 1, demo=False) as server:
        about = server.get("/version").json()
        assert (about["sha256"], about["refusal"]) == (content_hash(SHIPPED), None)
