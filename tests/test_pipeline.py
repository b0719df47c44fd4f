"""The complete pipeline on a small drawn corpus: its outputs, its reproducibility, and the absence of shortcuts."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import SMALL, Project
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from explain_deepfakes.pipeline.index import SPLITS, Video, read_index, write_index
from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.preprocessing.crops.stores import read_crop

TESTS = Path("results/tests")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def index_of(project: Project) -> list[Video]:
    return read_index(project.folder / "data/index/videos.csv")


def test_a_run_leaves_the_published_files_and_ours(finished: Project) -> None:
    tests = finished.folder / TESTS
    names = {path.name for path in tests.iterdir()}
    (samples,) = (name for name in names if name.startswith("samples_list_All_patch_transformer_checkpoint"))
    (labels,) = (name for name in names if name.endswith("_labels.txt"))
    plots = {"roc_curve.png", "precision_recall.png", "confusion.png", "calibration.png", "histogram.png"}
    assert {"frames.csv", "videos.csv", "metrics.json", "roc.csv", "test_metrics.json", "test_predictions.csv"} | plots <= names
    header = (tests / samples).read_text().splitlines()[0]
    assert header == "video_name,label,video_prob,high_low_prob,example_file_name"
    with_verdict = [row for row in rows(tests / "videos.csv") if row["verdict"] != "no verdict"]
    assert len(rows(tests / samples)) == len(with_verdict)
    assert len((tests / labels).read_text().splitlines()) == len(rows(tests / "videos.csv"))
    for row in rows(tests / samples):
        assert (finished.folder / row["video_name"] / row["example_file_name"]).is_file()


def test_the_metrics_are_those_of_the_verdicts(finished: Project) -> None:
    videos = [row for row in rows(finished.folder / TESTS / "videos.csv") if row["fake_probability"]]
    labels = [int(row["label"]) for row in videos]
    metrics = json.loads((finished.folder / TESTS / "metrics.json").read_text())["video"]
    assert metrics["count"] == len(videos)
    expected = roc_auc_score(labels, [float(row["fake_probability"]) for row in videos])
    assert metrics["auc"]["value"] == pytest.approx(expected, abs=1e-6)
    right = [row["outcome"] in ("TP", "TN") for row in videos]
    assert metrics["accuracy"]["value"] == pytest.approx(np.mean(right), abs=1e-6)


def test_only_test_videos_are_scored_and_their_people_are_in_no_other_split(finished: Project) -> None:
    index = {video.video: video for video in index_of(finished)}
    tested = {row["video"] for row in rows(finished.folder / TESTS / "videos.csv")}
    assert {index[name].split for name in tested} == {"test_set"}
    people = {split: {p for v in index.values() if v.split == split for p in v.identities} for split in SPLITS}
    assert not people["training_set"] & people["test_set"]
    assert not people["validation_set"] & people["test_set"]


def test_a_room_without_a_person_gets_no_verdict(finished: Project) -> None:
    empty = [row for row in rows(finished.folder / TESTS / "videos.csv") if row["verdict"] == "no verdict"]
    assert {row["video"] for row in empty} == {"Original/040", "Original/041"}
    assert all(row["fake_probability"] == "" and row["frames"] == "0" for row in empty)
    reasons = rows(finished.folder / "data/boxes/failures.csv")
    assert any("no face was found" in row["reason"] and "thresholds" in row["remedy"] for row in reasons)


def test_everyone_in_a_video_is_scored(finished: Project) -> None:
    people = {row["video"]: int(row["people"]) for row in rows(finished.folder / TESTS / "videos.csv")}
    assert people["Original/021"] == 2  # a bystander is in the picture
    assert people["FaceSwap/021_020"] == 2


def test_heatmaps_are_data_over_the_crops_own_pixels_with_a_figure_each(finished: Project) -> None:
    explanation = finished.folder / "results/explanation"
    crops = {(crop.video, crop.frame, crop.track): crop for crop in read_crops(finished.folder / "data/crops")}
    explained = rows(explanation / "explanations.csv")
    assert explained
    for row in explained:
        heat = np.load(explanation / row["map"])
        crop = crops[row["video"], int(row["frame"]), int(row["track"])]
        assert heat.shape == read_crop(crop.path).shape[:2]
        assert heat.min() >= 0
        assert heat.max() <= 1
        assert (explanation / row["figure"]).stat().st_size > 10_000
        assert (row["peak_in_mask"] != "") == (row["label"] == "1")


def test_the_page_opens_without_any_other_file_and_says_that_these_are_drawings(finished: Project) -> None:
    page = (finished.folder / "results/report/index.html").read_text()
    assert "trained on drawings only" in page
    assert "://" not in page  # embedded pictures are base64 text, without colons
    for folder in ("../", "figures/"):
        assert f'src="{folder}' not in page


def test_a_video_of_ones_own_gets_the_verdict_that_the_stages_gave_it(finished: Project) -> None:
    index = {video.video: video for video in index_of(finished)}
    expected = {row["video"]: row for row in rows(finished.folder / TESTS / "videos.csv")}
    names = ["Original/021", "FaceSwap/022_023", "Original/040"]
    result = finished.run("serving/predict.py", *(index[name].path for name in names), "--json", "--demo")
    assert result.returncode == 0, result.stderr
    for name, facts in zip(names, json.loads(result.stdout), strict=True):
        assert facts["verdict"] == expected[name]["verdict"]
        assert "drawings only" in facts["warning"]
        if facts["fake_probability"] is not None:
            assert facts["fake_probability"] == pytest.approx(float(expected[name]["fake_probability"]), abs=1e-5)
        assert len(facts["people"]) == int(expected[name]["people"])


@pytest.mark.parametrize("folder", ["", "explain_model"])
def test_the_explanation_runs_with_no_flag_from_the_root_and_from_its_own_folder(finished: Project, folder: str) -> None:
    (finished.folder / folder).mkdir(exist_ok=True)
    result = finished.run("explain_model/explain_model.py", cwd=finished.folder / folder)
    assert result.returncode == 0, result.stderr
    assert "faces explained" in result.stdout


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        ("model_test_train/test_model.py", ["--model_path", "none.safetensors"], "no checkpoint at none.safetensors"),
        ("model_test_train/test_model.py", ["--dataset", "Deepfake"], "dataset 'Deepfake' is not in the index; available: All"),
        ("model_test_train/train_model.py", ["--config", "none.yaml"], "none.yaml does not exist"),
        ("model_test_train/train_model.py", ["--num_epochs", "0"], "train.num_epochs is 0; the minimum is 1"),
        ("serving/predict.py", ["none.mp4"], "there is no file none.mp4"),
        ("serving/predict.py", ["params.yaml"], "cannot be opened as a video"),
    ],
)
def test_a_mistake_ends_in_one_line_that_says_what_to_do(
    finished: Project, script: str, flags: list[str], message: str
) -> None:
    result = finished.run(script, *flags)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def shuffled(videos: list[Video], seed: int) -> list[Video]:
    """Shuffle the labels of all but the test videos."""
    taught = [video for video in videos if video.split != "test_set"]
    labels = np.random.default_rng(seed).permutation([video.label for video in taught])
    new = {video.video: int(label) for video, label in zip(taught, labels, strict=True)}
    return [replace(video, label=new.get(video.video, video.label)) for video in videos]


def test_a_network_trained_on_shuffled_labels_knows_nothing_and_the_comparison_with_it_says_so(
    finished: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "shuffled", SMALL)
    (project.folder / "data").symlink_to(finished.folder / "data")
    write_index(project.folder / "shuffled.csv", shuffled(index_of(finished), seed=0))
    config = project.folder / "model_test_train/configs/patch_transformer.yaml"
    unpaired = (
        config.read_text()
        .replace("paired: true", "paired: false")
        .replace("mask_weight: 1.0", "mask_weight: 0.0")
        .replace("attention_loss_weight: 0.2", "attention_loss_weight: 0.0")
    )
    config.write_text(unpaired.replace("rebalancing_fake: 1.0", "rebalancing_fake: 0.25"))
    models = tmp_path / "models"
    project.stage("model_test_train/train_model.py", "--index", "shuffled.csv", "--output_path", models)
    checkpoint, mine = models / "best.safetensors", tmp_path / "tests/mine_labels.txt"
    mine.parent.mkdir()
    mine.write_text("not of a test")
    for _ in range(2):
        project.stage("model_test_train/test_model.py", "--model_path", checkpoint, "--output_path", tmp_path / "tests")
    assert len(list(mine.parent.glob("*_labels.txt"))) == 2  # the user's own is left as it is
    auc = json.loads((tmp_path / "tests/metrics.json").read_text())["video"]["auc"]["value"]
    assert 0.4 <= auc <= 0.6
    sides = ("--a", finished.folder / TESTS, "--b", tmp_path / "tests", "--output_path", tmp_path / "comparison")
    output = project.stage("model_test_train/compare_models.py", *sides)
    assert re.search(r"videos, B \(.*\) is worse than A \(.*\) in ", output), output


def shortcuts(project: Project, video: Video) -> list[float]:
    """Return what can be known of a video without looking at the face."""
    path = project.folder / video.path
    boxes = json.loads((project.folder / f"data/boxes/{video.video}.json").read_text())
    sizes = [
        (face["box"][2] - face["box"][0], face["box"][3] - face["box"][1])
        for faces in boxes["frames"].values()
        for face in faces
        if face["track"] == 0
    ]
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = container.bit_rate or 0
    colour = np.mean(pictures, axis=(0, 1, 2))
    return [path.stat().st_size, rate, len(pictures), *np.mean(sizes, axis=0), *colour]


@pytest.mark.parametrize("kind", ["forest", "logistic"])
def test_what_lies_around_the_face_does_not_give_the_label_away(finished: Project, kind: str) -> None:
    with_face = {crop.video for crop in read_crops(finished.folder / "data/crops")}
    videos = [video for video in index_of(finished) if video.video in with_face]
    taught = [video for video in videos if video.split != "test_set"]
    tested = [video for video in videos if video.split == "test_set"]
    if kind == "forest":
        classifier = RandomForestClassifier(300, class_weight="balanced", random_state=0)
    else:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    classifier.fit([shortcuts(finished, video) for video in taught], [video.label for video in taught])
    scores = classifier.predict_proba([shortcuts(finished, video) for video in tested])[:, 1]
    assert 0.4 <= roc_auc_score([video.label for video in tested], scores) <= 0.6
