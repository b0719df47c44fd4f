"""Explanations: files for samples and examples, metrics of heatmaps, and annotated videos."""

import csv
import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SMALL, Project
from torch import Tensor, nn

from explain_deepfakes.explain_model.faithfulness.evaluation import contrast
from explain_deepfakes.explain_model.faithfulness.localisation import border_pixels, localisation_metrics
from explain_deepfakes.explain_model.faithfulness.removal import (
    SHARES,
    area_under_curve,
    rank_cells,
    removal_curves,
    road_scores,
)
from explain_deepfakes.explain_model.figures import explained_videos
from explain_deepfakes.explain_model.figures.explanation import explain_model, find_local_examples
from explain_deepfakes.explain_model.figures.over_time import (
    BOX_COLOURS,
    blend_heat,
    draw_contact_sheet,
    interpolate_moment,
    mean_heat,
    write_annotated,
)
from explain_deepfakes.explain_model.figures.params import ExplainParams, ExplainVideosParams
from explain_deepfakes.explain_model.figures.people import Moment, Person, top_scoring_frames
from explain_deepfakes.explain_model.inputs.samples import read_examples
from explain_deepfakes.explain_model.inputs.test_results import read_verdict_rule
from explain_deepfakes.explain_model.maps.heatmaps import compute_fake_and_real_heatmaps, compute_heatmaps
from explain_deepfakes.model_test_train.metrics.aggregation import AGGREGATIONS, FAKE_VERDICT, REAL_VERDICT, VerdictRule
from explain_deepfakes.model_test_train.networks.checkpoint import load_checkpoint
from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import relative
from explain_deepfakes.preprocessing.crops.crops import Window, read_crops
from explain_deepfakes.preprocessing.crops.stores import read_crop
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import open_video

EXPLANATION, EVALUATION, OVER_TIME = "results/explanation", "results/explanation_evaluation", "results/explained_videos"
COLUMNS = ("video_name", "label", "video_prob", "high_low_prob", "example_file_name")


@pytest.fixture(scope="module")
def network(finished: Project) -> Network:
    return load_checkpoint(finished.folder / "data/models/best.safetensors", torch.device("cpu"))[0]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def heat_at(y: int, x: int, side: int = 40) -> np.ndarray:
    heat = np.zeros((side, side), np.float32)
    heat[y, x] = 0.9
    return heat


def test_a_map_is_measured_by_where_it_lies() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    inside, outside = localisation_metrics(heat_at(14, 14), mask), localisation_metrics(heat_at(30, 30), mask)
    assert (inside["peak"], outside["peak"]) == (1, 0)
    assert inside["mass"] == pytest.approx(1)
    assert inside["interior"] == pytest.approx(1)
    assert outside["mass"] == outside["interior"] == outside["border"] == 0
    assert inside["iou"] == pytest.approx(1 / 100)
    perfect = localisation_metrics(0.9 * mask.astype(np.float32), mask)
    assert perfect["rank"] == perfect["iou"] == 1
    assert perfect["mass"] == pytest.approx(1)
    assert perfect["interior"] + perfect["border"] == pytest.approx(1)
    even = localisation_metrics(np.full((40, 40), 0.25, np.float32), mask)
    assert even["mass"] == pytest.approx(mask.mean())


def test_the_border_lies_on_both_sides_of_the_edge() -> None:
    mask = np.zeros((50, 50), bool)
    mask[20:30, 20:30] = True
    border = border_pixels(mask)
    assert border[20, 25]
    assert border[18, 25]
    assert not border[25, 25]
    assert not border[10, 25]


class TopLeft(nn.Module):
    """A backbone whose output depends only on the brightness of one patch."""

    stride = 8

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(16.0))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.gain * pixels[:, :, :16, :16].mean((1, 2, 3)) - 12


class Verdict(nn.Module):
    patch_grid = (8, 8)

    def forward(self, features: Tensor) -> Tensor:
        return features


def test_a_verdict_falls_with_the_places_that_made_it_and_comes_back_with_them() -> None:
    contract = InputContract(64, "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "stretch")
    network = Network(TopLeft(), Verdict(), contract, (8, 8))
    picture = np.full((64, 64, 3), 10, np.uint8)
    picture[:16, :16] = 250
    heat = torch.zeros(8, 8)
    heat[:2, :2] = 1
    rankings = {"right": rank_cells(heat, 8, seed=0), "wrong": rank_cells(-heat, 8, seed=0)}
    curves = removal_curves(network, picture, rankings, seed=0)
    for fill in ("blurred", "grained"):
        deletion, insertion = (
            {name: curves[name][f"{kind}_{fill}"] for name in rankings} for kind in ("deletion", "insertion")
        )
        assert len(deletion["right"]) == len(SHARES)
        assert deletion["right"][0] == deletion["wrong"][0] == insertion["right"][-1]
        assert deletion["right"][-1] == insertion["wrong"][0]
        assert area_under_curve(deletion["right"]) < area_under_curve(deletion["wrong"]) - 0.2
        assert area_under_curve(insertion["right"]) > area_under_curve(insertion["wrong"]) + 0.2
    filled_in = road_scores(network, picture, rankings, seed=0)
    assert filled_in["right"] < filled_in["wrong"] - 0.2


def test_a_face_at_the_border_gets_its_heat_where_it_is_in_the_picture() -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    blend_heat(picture, np.full((20, 20), 0.9, np.float32), Window(-10, 20, 10, 40), opacity=1.0)
    assert picture[20:, :10].any(axis=-1).all()
    picture[20:, :10] = 0
    assert not picture.any()
    blend_heat(picture, np.full((20, 20), 0.9, np.float32), Window(50, 0, 70, 20), opacity=1.0)
    assert not picture.any()


def moment(frame: int, probability: float, x: int = 0) -> Moment:
    return Moment(frame, Window(x, 0, x + 10, 10), np.zeros((10, 10, 3), np.uint8), np.full((10, 10), probability), probability)


def test_between_frames_looked_at_boxes_move_evenly_and_nobody_is_there_before_or_after() -> None:
    moments = [moment(4, 0.2), moment(8, 0.9, x=40)]
    assert interpolate_moment(moments, 3) is None
    assert interpolate_moment(moments, 9) is None
    assert interpolate_moment(moments, 5) == (moments[0], Window(10, 0, 20, 10))
    assert interpolate_moment(moments, 8) == (moments[1], Window(40, 0, 50, 10))
    assert [scored.frame for scored in top_scoring_frames(moments, called_fake=True)] == [8, 4]
    assert [scored.frame for scored in top_scoring_frames(moments, called_fake=False)] == [4, 8]
    assert mean_heat(moments, 5) == pytest.approx(np.full((5, 5), 0.55))


def test_each_fake_stands_beside_its_original_and_both_maps_are_kept(finished: Project) -> None:
    folder = finished.folder / EXPLANATION
    explained = rows(folder / "explanations.csv")
    for row in explained:
        assert np.load(folder / row["map"]).shape == np.load(folder / row["map_against"]).shape
        assert contrast(np.load(folder / row["map"]), np.load(folder / row["map_against"])) > 0.3
        assert (row["pair"] != "") == (row["label"] == "1")
        assert not row["pair"] or (folder / row["pair"]).stat().st_size > 10_000
    assert not rows(folder / "failures.csv")


def test_maps_are_measured_beside_baselines_and_over_shuffled_networks(finished: Project) -> None:
    summary = json.loads((finished.folder / EVALUATION / "metrics.json").read_text())
    right = [row for row in rows(finished.folder / "results/tests/videos.csv") if row["outcome"] == "TP"]
    assert summary["faces"] == len(right)
    assert set(summary["maps"]) == {"relevancy", "grad_cam", "random", "centred_blob", "edges", "mean_mask"}
    for estimates in summary["maps"].values():
        for name in ("peak", "mass", "rank", "iou", "deletion_grained", "insertion_blurred", "road"):
            assert 0 <= estimates[name]["value"] <= 1
    for name in ("relevancy", "grad_cam"):
        assert 0.5 < summary["maps"][name]["contrast"]["value"] <= 2
        assert 0 <= summary["maps"][name]["deletion_against"]["value"] <= 1
    rows_by_map = {row["map"]: row for row in rows(finished.folder / EVALUATION / "faces.csv")}
    assert float(rows_by_map["relevancy"]["contrast"]) > 0
    assert rows_by_map["random"]["contrast"] == ""  # it does not depend on a label
    assert summary["shuffled"]["nothing"]["likeness"]["value"] == pytest.approx(1)
    assert summary["shuffled"]["backbone"]["likeness"]["value"] < 0.9
    assert sum(group["faces"] for group in summary["by_manipulation"].values()) == len(right)


def test_a_video_is_shown_over_time_with_every_frame_it_has(finished: Project) -> None:
    tested = {row["video"]: row for row in rows(finished.folder / "results/tests/videos.csv")}
    folders = [table.parent for table in (finished.folder / OVER_TIME).rglob("frames.csv")]
    assert len(folders) == 6  # one of each manipulation, and an original
    for folder in folders:
        frames = rows(folder / "frames.csv")
        assert len(frames) == int(tested[frames[0]["video"]]["frames"])
        assert len(list(folder.glob("heat_person_*.npy"))) == int(tested[frames[0]["video"]]["people"])
        verdicts = {row["track"]: row["person_verdict"] for row in frames}
        assert (FAKE_VERDICT in verdicts.values()) == (tested[frames[0]["video"]]["verdict"] == FAKE_VERDICT)
        with av.open(str(folder / "annotated.mp4")) as video:
            assert video.streams.video[0].codec_context.name == "h264"
            assert len(list(video.decode(video=0))) == SMALL["make_demo_videos"]["frames"]
        for picture in ("timeline.png", "contact_sheet.png"):
            assert (folder / picture).stat().st_size > 10_000


@pytest.mark.parametrize("method", ["raw_attention", "rollout", "input_gradient"])
def test_methods_that_know_no_label_have_no_contrast(finished: Project, network: Network, method: str) -> None:
    crop = read_crop(read_crops(finished.folder / "data/crops")[0].path)
    evidence_for, evidence_against = compute_fake_and_real_heatmaps(network, [crop], method)
    assert contrast(evidence_for[0].numpy(), evidence_against[0].numpy()) == pytest.approx(0)


def test_each_persons_heat_is_for_that_persons_own_verdict(finished: Project, network: Network, tmp_path: Path) -> None:
    """In a fake video, an unmanipulated person gets the evidence for real; the verdict is over all frames."""
    crops = [crop for crop in read_crops(finished.folder / "data/crops") if crop.video == "FaceSwap/021_020"]
    scores = {relative(crop.path): 0.9 if crop.track == 0 else 0.1 for crop in crops}
    second_person = next(crop for crop in crops if crop.track == 1)
    scores[relative(second_person.path)] = 0.95  # a single frame does not make the person fake
    params = ExplainVideosParams(batch_size=4, threads=1, device="cpu", method="relevancy", videos_per_method=1, opacity=0.6)
    people = explained_videos.explain_people(network, crops, scores, VerdictRule("median", 0.5), params)
    assert {track: person.verdict for track, person in people.items()} == {0: FAKE_VERDICT, 1: REAL_VERDICT}
    for person in people.values():
        for moment in person.moments:
            (own,) = compute_heatmaps(network, [moment.crop], [person.called_fake], "relevancy")
            assert moment.heat == pytest.approx(own.evidence_for, abs=1e-4)
    draw_contact_sheet(tmp_path / "sheet.png", people, 0.6, title="two", warning=None)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_the_annotated_video_shows_the_label_that_the_heat_is_for_in_every_frame(finished: Project, tmp_path: Path) -> None:
    """This includes frames whose own score is on the other side of the threshold."""
    video = next(video for video in read_index(finished.folder / "data/index/videos.csv") if video.video == "FaceSwap/021_020")
    hot = np.full((40, 40), 0.9, np.float32)
    windows = {FAKE_VERDICT: Window(10, 30, 50, 70), REAL_VERDICT: Window(70, 30, 110, 70)}
    grey = np.full((40, 40, 3), 128, np.uint8)
    people = {
        track: Person(verdict, False, [Moment(frame, window, grey, hot, (0.05, 0.95)[frame % 2]) for frame in range(10)])
        for track, (verdict, window) in enumerate(windows.items())
    }
    with open_video(finished.folder / video.path, load_params("read_video", ReadingParams)) as opened:
        width = opened.facts.width
        write_annotated(tmp_path / "annotated.mp4", opened, people, 0.6, None)
    with av.open(str(tmp_path / "annotated.mp4")) as written:
        pictures = [frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)]
    assert len(pictures) == 10
    for picture in pictures:
        for verdict, (x0, _, x1, y1, *_) in windows.items():
            times = picture.shape[1] / width
            border = picture[round(times * y1), round(times * (x0 + 5)) : round(times * (x1 - 5))].mean(0)
            assert border == pytest.approx(BOX_COLOURS[verdict], abs=60)


def test_people_get_the_verdicts_of_the_test(finished: Project, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(finished.folder / "data/models/best.safetensors", torch.device("cpu"))[1]
    protocol = json.loads((finished.folder / "results/tests/protocol.json").read_text())
    (tmp_path / "protocol.json").write_text(json.dumps(protocol | {"aggregation": AGGREGATIONS["median"].description}))
    rule = read_verdict_rule(checkpoint, tmp_path)
    assert (rule.aggregation, rule.threshold) == ("median", checkpoint.threshold)
    (tmp_path / "protocol.json").write_text(json.dumps(protocol | {"aggregation": "by the moon"}))
    with pytest.raises(UserError, match=r"protocol.json: the aggregation 'by the moon' is not known; run the test again"):
        read_verdict_rule(checkpoint, tmp_path)


def examples(folder: Path, finished: Project, table: list[dict[str, object]], columns: tuple[str, ...]) -> Path:
    """Write an examples folder as the published explanation has it, including unusual kinds of pictures."""
    (folder / "examples").mkdir(parents=True)
    crop = read_crop(read_crops(finished.folder / "data/crops")[0].path)
    strange = {
        "0_0.png": crop,
        "grey.png": crop.mean(-1).astype(np.uint8),
        "tiny.png": cv2.resize(crop, (20, 20)),
        "flat.png": np.full((50, 70, 3), 128, np.uint8),
    }
    for name, picture in strange.items():
        cv2.imwrite(str(folder / "examples" / name), picture)
    (folder / "examples" / "broken.png").write_bytes(b"no picture")
    with (folder / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(table)
    return folder


def row(name: str, **fields: object) -> dict[str, object]:
    facts = {"video_name": "../data/Deepfakes/000_003", "label": 1.0, "video_prob": 0.99, "high_low_prob": 0.98}
    return {**facts, "example_file_name": name, **fields}


def explain_examples(
    network: Network, folder: Path, method: str = "relevancy"
) -> tuple[tuple[int, int], list[dict[str, str]], list[dict[str, str]]]:
    """Explain the examples. Return the counts of explained and failed ones, and the rows of both tables."""
    params = ExplainParams(batch_size=4, threads=1, device="cpu", method=method, opacity=0.6)
    samples = read_examples(folder / "examples", threshold=0.5)
    counts = explain_model(network, samples, {}, folder / "explanation", params, warning=None, save_maps=True)
    return counts, rows(folder / "explanation/explanations.csv"), rows(folder / "explanation/failures.csv")


@pytest.mark.parametrize("short", [False, True])
def test_a_folder_of_examples_is_explained_and_what_is_missing_or_broken_is_said(
    finished: Project, network: Network, tmp_path: Path, short: bool
) -> None:
    names = ["0_0.png", "grey.png", "tiny.png", "flat.png", "broken.png", "missing.png"]
    table = [row(f"somewhere/else/{n}", example_file_name_short=n) if short else row(n) for n in names]
    columns = (*COLUMNS, "example_file_name_short") if short else COLUMNS
    folder = examples(tmp_path, finished, table, columns)
    counts, explained, failures = explain_examples(network, folder)
    assert np.load(folder / "explanation" / explained[0]["map"].replace("maps/", "raw_maps/")).shape == (16, 16)
    assert counts == (4, 2)
    assert {entry["crop"] for entry in failures} == {"broken.png", "missing.png"}
    assert not any("delete" in entry["reason"] for entry in failures)  # the user's own files are not to be deleted
    assert len({entry["map"] for entry in explained}) == 4
    assert {entry["outcome"] for entry in explained} == {"TP"}
    assert all(entry["peak_in_mask"] == "" for entry in explained)  # there is no mask


def test_of_a_method_with_one_map_only_that_is_written_and_drawn(finished: Project, network: Network, tmp_path: Path) -> None:
    folder = examples(tmp_path, finished, [row("0_0.png")], COLUMNS)
    _, (explained,), _ = explain_examples(network, folder, "raw_attention")
    assert explained["map_against"] == ""
    assert not (folder / "explanation/maps_against").exists()
    one_map = cv2.imread(str(folder / "explanation" / explained["figure"]))
    _, (explained,), _ = explain_examples(network, folder, "relevancy")
    two_maps = cv2.imread(str(folder / "explanation" / explained["figure"]))
    assert two_maps.shape[1] > one_map.shape[1]


def test_columns_that_nobody_knows_do_no_harm_and_an_empty_table_is_no_error(
    finished: Project, network: Network, tmp_path: Path
) -> None:
    folder = examples(tmp_path / "more", finished, [row("0_0.png", remark="?")], (*COLUMNS, "remark"))
    assert len(explain_examples(network, folder)[1]) == 1
    counts, explained, _ = explain_examples(network, examples(tmp_path / "none", finished, [], COLUMNS))
    assert counts == (0, 0)
    assert not explained


def test_a_table_without_a_needed_column_is_refused_by_its_line(finished: Project, tmp_path: Path) -> None:
    folder = examples(tmp_path, finished, [{"label": 1.0}], ("label",))
    with pytest.raises(UserError, match="samples.csv, line 2: column 'example_file_name' is missing"):
        read_examples(folder / "examples", threshold=0.5)


def test_an_examples_folder_beside_the_command_is_taken_as_the_published_way_has_it(finished: Project, tmp_path: Path) -> None:
    folder = examples(tmp_path, finished, [row("0_0.png")], COLUMNS)
    model = finished.folder / "data/models/best.safetensors"
    result = finished.run("explain_model/explain_model.py", "--model_path", model, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "1 faces explained" in result.stdout
    assert len(rows(folder / "explanation/explanations.csv")) == 1


def test_an_examples_folder_in_the_project_is_no_input_of_the_stage(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(finished.folder / name, tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "explain_model/examples").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_local_examples() is None
    monkeypatch.chdir(tmp_path / "explain_model")
    assert find_local_examples() == tmp_path / "explain_model/examples"
