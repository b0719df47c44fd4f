"""Ensembles: the search finds the best weights, no person is in two folds, and members' votes are reported."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, Project
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from explain_deepfakes.model_test_train.ensembles.ensemble import fit_ensemble, format_summary
from explain_deepfakes.model_test_train.ensembles.members import Predictions
from explain_deepfakes.model_test_train.ensembles.params import EnsembleParams
from explain_deepfakes.model_test_train.ensembles.weight_search import (
    fit_fusion,
    fit_scale,
    make_folds,
    out_of_fold_probabilities,
    search_weights,
)
from explain_deepfakes.model_test_train.evaluation.fusion import FUSION_METHODS, Array, Fusion, MemberLogits, balanced_log_loss
from explain_deepfakes.model_test_train.evaluation.predictor import collect_votes
from explain_deepfakes.model_test_train.metrics.aggregation import FrameScore
from explain_deepfakes.pipeline.index import Video, read_index

FRAMES, TRIALS = 4, 200


def simulated(qualities: list[float], copies: bool = False, videos: int = 400) -> MemberLogits:
    """Simulate members that see each face's label through independent or (`copies`) identical noise; two videos per person."""
    rng = np.random.default_rng(0)
    labels = np.arange(videos) % 2
    truth = np.repeat(labels, FRAMES)[:, None] * 2 - 1.0
    noise = rng.normal(size=(videos * FRAMES, 1 if copies else len(qualities)))
    logits = truth * (qualities[0] if copies else np.array(qualities)) + noise
    logits = np.repeat(logits, len(qualities), 1) if copies else logits
    return MemberLogits(logits, np.arange(0, videos * FRAMES, FRAMES), np.arange(videos), labels, np.arange(videos) // 2)


def auc(faces: MemberLogits, probabilities: Array) -> float:
    return float(roc_auc_score(faces.labels, probabilities))


def weighted_loss(faces: MemberLogits, weights: Array) -> float:
    weights = np.abs(weights) / np.abs(weights).sum()
    return balanced_log_loss(
        faces.labels, faces.aggregate(fit_scale(Fusion("average", {"weights": weights}), faces)(faces.logits))
    )


@pytest.mark.parametrize("qualities", [[1.0, 0.5, 0.2], [0.6, 0.5]])
def test_the_search_finds_the_best_weights(qualities: list[float]) -> None:
    faces = simulated(qualities)
    weights = search_weights("average", faces, TRIALS, seed=0, journal=None).parameters["weights"]
    best = minimize(lambda weights: weighted_loss(faces, weights), np.ones(len(qualities)), method="Nelder-Mead").x
    assert sum(weights) == pytest.approx(1)
    assert np.abs(np.array(weights) - np.abs(best) / np.abs(best).sum()).max() < 0.05


@pytest.mark.parametrize("method", FUSION_METHODS)
def test_together_they_beat_the_best_member_where_errors_are_independent_and_not_where_they_are_copies(method: str) -> None:
    known, unseen = np.arange(400) < 200, np.arange(400) >= 200
    for copies in (False, True):
        faces = simulated([0.5, 0.45, 0.4], copies)
        held_out = faces.select(unseen)
        best = max(auc(held_out, held_out.aggregate(1 / (1 + np.exp(-logits)))) for logits in held_out.logits.T)
        together = auc(held_out, held_out.aggregate(fit_fusion(method, faces.select(known), 60, seed=0)(held_out.logits)))
        if copies:
            assert together < best + 0.005
        else:
            assert together > best + 0.02


def test_a_search_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    faces = simulated([0.6, 0.4, 0.2], videos=40)
    uninterrupted = search_weights("confidence", faces, 30, seed=3, journal=None)
    search_weights("confidence", faces, 23, seed=3, journal=tmp_path / "search.log")
    assert search_weights("confidence", faces, 30, seed=3, journal=tmp_path / "search.log") == uninterrupted


def test_nobody_is_on_both_sides_of_a_fold_and_every_video_is_scored_once() -> None:
    faces = simulated([0.5, 0.4], videos=60)
    apart = make_folds(faces, 5, seed=0)
    for held_out in apart:
        assert not set(faces.groups[~held_out]) & set(faces.groups[held_out])
        assert len(set(faces.labels[held_out].tolist())) == 2
    assert (np.sum(apart, axis=0) == 1).all()
    assert not np.isnan(out_of_fold_probabilities("stacking", faces, apart, 10, seed=0)).any()


@pytest.mark.parametrize(
    "groups", [np.zeros(40, int), np.where(np.arange(40) % 2, np.arange(40), 0)], ids=["all share people", "all originals do"]
)
def test_there_are_no_folds_where_somebody_would_be_in_all_or_a_class_in_one(groups: np.ndarray) -> None:
    faces = replace(simulated([0.6, 0.4], videos=40), groups=groups)
    assert make_folds(faces, 5, seed=0) == []


def test_an_ensemble_of_videos_that_all_share_people_says_that_it_promises_too_much() -> None:
    faces = simulated([0.6, 0.4], videos=40)
    videos = [Video(f"It/{n:03}", "It", n % 2, "validation_set", ("one",), "it.mp4", "", "", "DEMO") for n in range(40)]
    keys = [(video.video, 0, frame) for video in videos for frame in range(FRAMES)]
    together = Predictions(keys, [{"path": ""}] * len(keys), expit(faces.logits), videos)
    settings = EnsembleParams(members="one,other", fusion="average", fusions=(), trials=5, folds=5, agreement=0.6, seed=0)
    fitted = fit_ensemble(["one", "other"], together, settings, None)
    assert not fitted.held_out
    assert "too optimistic" in format_summary(fitted, ["one", "other"])


@pytest.mark.parametrize(("aggregation", "expected"), [("mean", 0.9), ("published", 0.6)])
def test_members_vote_by_the_same_rule_as_the_ensemble(aggregation: str, expected: float) -> None:
    frames = [FrameScore("It/0", 0, track, "", 0.1, (probability,)) for track, probability in enumerate([0.3, 0.6, 0.9])]
    vote = collect_votes([0.5], frames, aggregation)
    assert vote.probabilities == pytest.approx([expected])
    assert vote.called_fake == [True]


def test_the_highest_person_decides_and_a_part_of_the_videos_keeps_its_people() -> None:
    faces = MemberLogits(
        logits=np.zeros((6, 1)),
        people=np.array([0, 2, 3, 5]),  # with two, one, two and one faces
        videos=np.array([0, 2, 3]),  # with two, one and one people
        labels=np.array([0, 1, 0]),
        groups=np.array([0, 1, 2]),
    )
    scores = np.array([0.1, 0.3, 0.9, 0.4, 0.6, 0.7])
    assert faces.aggregate(scores).tolist() == pytest.approx([0.9, 0.5, 0.7])
    assert faces.face_labels().tolist() == [0, 0, 0, 1, 1, 0]
    selected = faces.select(np.array([False, True, True]))
    assert selected.aggregate(scores[3:]).tolist() == pytest.approx([0.5, 0.7])
    assert selected.labels.tolist() == [1, 0]


def test_loss_is_that_of_scikit_learn_with_classes_counting_alike() -> None:
    labels, probabilities = np.array([0, 1, 1, 1]), np.array([0.2, 0.7, 0.9, 0.4])
    expected = log_loss(labels, probabilities, sample_weight=[1, 1 / 3, 1 / 3, 1 / 3])
    assert balanced_log_loss(labels, probabilities) == pytest.approx(expected)


@pytest.fixture(scope="module")
def trained_ensemble(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project with an ensemble of the small corpus's network and MesoNet, and the command's output."""
    folder = tmp_path_factory.mktemp("ensemble") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    project = Project(folder, SMALL)
    project.stage("benchmarks/all_networks/all_networks.py", "--names", "meso4", "--num_epochs", 1)
    (folder / "data/networks/places").mkdir(parents=True)
    shutil.copy(folder / "data/models/best.safetensors", folder / "data/networks/places/best.safetensors")
    return project, project.stage("model_test_train/ensemble.py", "--members", "places,meso4")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_another_network_goes_through_every_package_into_the_table(trained_ensemble: tuple[Project, str]) -> None:
    results = trained_ensemble[0].folder / "results"
    (row,) = rows(results / "networks_table/networks.csv")
    assert (row["network"], row["backbone"], row["map"]) == ("meso4", "meso4", "hires_cam")
    assert int(row["weights"]) == 15905  # of the variant with the noise residual as input
    assert float(row["pictures_a_second"]) > 0
    assert 0 <= float(row["auc"]) <= 1
    assert (results / "networks/meso4/explanation/explanations.csv").is_file()
    assert "| meso4 | 0.02 |" in (results / "networks_table/networks.md").read_text()


def test_the_page_shows_networks_and_their_ensemble_side_by_side(trained_ensemble: tuple[Project, str]) -> None:
    project, _ = trained_ensemble
    project.stage("benchmarks/all_networks/all_networks.py", "--names", "meso4", "--table")
    page = (project.folder / "results/networks_table/index.html").read_text()
    assert "trained on drawings only" in page
    assert "average of places, meso4" in page
    assert page.count("with the heatmap of each network") >= 6


def test_an_ensemble_gives_verdicts_with_its_members_votes(trained_ensemble: tuple[Project, str]) -> None:
    project, output = trained_ensemble
    results = project.folder / "results/ensembles/average"
    votes, videos = rows(results / "votes.csv"), rows(results / "videos.csv")
    assert {row["video"] for row in votes} == {row["video"] for row in videos if row["verdict"] != "no verdict"}
    assert {row["places votes"] for row in votes} <= {"fake", "real"}
    assert all(0 <= float(row["agreement"]) <= 1 for row in votes)
    assert {"member: places", "member: meso4"} <= set(rows(results / "test_predictions.csv")[0])
    assert json.loads((results / "protocol.json").read_text())["members"] == ["places", "meso4"]
    assert "trained on drawings only" in output
    assert "ensemble, average" in output
    uncertain = {row["video"] for row in videos if row["uncertain"] == "True"}
    assert {row["video"] for row in votes if float(row["agreement"]) < 0.6} <= uncertain


def test_an_ensemble_scores_a_single_video_as_it_scored_the_test_videos(
    trained_ensemble: tuple[Project, str], tmp_path: Path
) -> None:
    project, _ = trained_ensemble
    file = project.folder / "data/ensembles/average/ensemble.json"
    tested = next(row for row in rows(project.folder / "results/ensembles/average/videos.csv") if row["method"] == "FaceSwap")
    video = next(video for video in read_index(project.folder / "data/index/videos.csv") if video.video == tested["video"])
    command = ("serving/predict.py", video.path, "--model_path", file, "--json", "--demo", "--report", tmp_path / "page.html")
    (facts,) = json.loads(project.stage(*command))
    assert facts["verdict"] == tested["verdict"]
    assert facts["fake_probability"] == pytest.approx(float(tested["fake_probability"]), abs=1e-4)
    assert str(facts["uncertain"]) == tested["uncertain"]
    assert facts["people"][0]["frames"][0]["members"].keys() == {"places", "meso4"}
    assert facts["tested"]["videos"] > 0
    member = project.folder / "data/networks/places/best.safetensors"
    weights = member.read_bytes()
    shutil.copy(project.folder / "data/networks/meso4/best.safetensors", member)
    result = project.run(*command)
    member.write_bytes(weights)
    assert result.returncode == 2
    assert "is not what the ensemble was fitted with" in result.stderr


def test_weights_are_reproduced_from_stored_predictions_alone(trained_ensemble: tuple[Project, str]) -> None:
    project, _ = trained_ensemble
    ensemble = project.folder / "data/ensembles/average/ensemble.json"
    before = json.loads(ensemble.read_text())
    shutil.move(project.folder / "data/crops", project.folder / "data/elsewhere")
    project.stage("model_test_train/ensemble.py", "--members", "places,meso4", "--optimize-weights")
    shutil.move(project.folder / "data/elsewhere", project.folder / "data/crops")
    assert json.loads(ensemble.read_text()) == before


@pytest.mark.parametrize(
    ("members", "message"),
    [("meso4,third", "no checkpoint at"), ("meso4,meso4", "must name two networks")],
)
def test_too_few_members_and_unknown_ones_are_refused_in_words(
    trained_ensemble: tuple[Project, str], members: str, message: str
) -> None:
    result = trained_ensemble[0].run("model_test_train/ensemble.py", "--members", members)
    assert result.returncode == 2
    assert message in result.stderr
