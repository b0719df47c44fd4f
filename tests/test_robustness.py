"""Corruptions, encoding chains and attacks: each has the stated effect, which grows with the severity."""

import csv
import json
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Project
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from explain_deepfakes.model_test_train import evaluate_robustness as robustness_test
from explain_deepfakes.model_test_train import evaluate_transfer as cross_test
from explain_deepfakes.model_test_train.evaluation import robustness, transfer
from explain_deepfakes.model_test_train.evaluation.attacks import ATTACKS
from explain_deepfakes.model_test_train.evaluation.corruptions import CORRUPTIONS
from explain_deepfakes.model_test_train.evaluation.params import CLEAN, ROBUSTNESS_KINDS
from explain_deepfakes.model_test_train.evaluation.robustness import BUDGETS, write_table
from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index, write_index
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.reencoding import ENCODING_CHAINS, EncodingChain, reencode
from explain_deepfakes.preprocessing.video.video import probe_video, read_frames

READING = load_params("read_video", ReadingParams)
CONTRACT = InputContract(16, "rgb", 1 / 255, (0.5,) * 3, (0.25,) * 3, "stretch")


def portrait(side: int = 96) -> np.ndarray:
    """A picture of coarse colours with soft noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 190, (8, 8, 3)).astype(np.uint8).repeat(side // 8, 0).repeat(side // 8, 1)
    return cv2.GaussianBlur(coarse + rng.integers(0, 50, coarse.shape, np.uint8), (0, 0), 1.0)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_severity_and_is_the_same_each_time(name: str) -> None:
    corruption, picture = CORRUPTIONS[name], portrait()
    changes = []
    for step in corruption.steps:
        first, second = (corruption.apply(picture, step, np.random.default_rng(1)) for _ in range(2))
        assert first.dtype == np.uint8
        assert first.shape == picture.shape
        assert np.array_equal(first, second)
        changes.append(np.abs(first.astype(float) - picture).mean())
    assert changes[0] > 0
    assert all(less < more for less, more in zip(changes, changes[1:], strict=False)), changes


class Linear(nn.Module):
    """A network whose logit is a weighted sum of the pixels: so the effect of an attack is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels * self.weights).sum((1, 2, 3))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("budget", [1, 4])
def test_on_a_linear_network_an_attack_moves_the_logit_by_the_budget_times_the_weights(attack: str, budget: int) -> None:
    network = Linear()
    pictures = torch.randint(50, 200, (6, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    changed = ATTACKS[attack](network, CONTRACT, pictures, labels, budget)
    assert changed.dtype == torch.uint8
    assert (changed.int() - pictures.int()).abs().max() == budget
    moved = network(CONTRACT.normalise(changed)) - network(CONTRACT.normalise(pictures))
    expected = budget / 255 / 0.25 * network.weights.abs().sum() * (1 - 2 * labels)
    assert torch.allclose(moved, expected, rtol=1e-3)


def test_an_attack_stays_within_the_grey_levels_that_there_are() -> None:
    pictures = torch.tensor([0, 255], dtype=torch.uint8).repeat(2, 16 * 16 * 3 // 2).reshape(2, 16, 16, 3)
    for attack in ATTACKS.values():
        changed = attack(Linear(), CONTRACT, pictures, torch.tensor([0, 1]), 8)
        assert (changed.int() - pictures.int()).abs().max() <= 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"crf": "12", "threads": "1"}
        for number in range(24):
            picture = np.roll(portrait()[:64], number, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ENCODING_CHAINS)
def test_a_video_arrives_with_the_size_and_frames_of_its_way_and_worse_each_time(name: str, clip: Path, tmp_path: Path) -> None:
    first = next(picture for _, picture in read_frames(clip, [0], READING)).astype(float)
    differences = []
    for number, chain in enumerate(ENCODING_CHAINS[name]):
        target = tmp_path / f"{number}.mp4"
        reencode(clip, target, chain, READING)
        facts = probe_video(target, READING)
        assert facts.frames_present == -(-24 // chain.every)
        assert facts.frame_rate == pytest.approx(24 / chain.every)
        assert (facts.width, facts.height) == tuple(2 * max(8, round(side * chain.size / 2)) for side in (96, 64))
        arrived = next(picture for _, picture in read_frames(target, [0], READING))
        differences.append(np.abs(cv2.resize(arrived, (96, 64)) - first).mean())
    assert differences[0] > 0
    assert name == "frame_rate" or differences == sorted(differences)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0.mp4", "1.mp4", "2.mp4"]


def test_an_encoding_chain_is_described_in_words() -> None:
    assert EncodingChain("libx265", 28, 0.5, 2, 2).describe() == "x265 crf 28, sides x0.5, one frame of 2, 2 times"


def test_kinds_that_were_tried_make_one_table_and_one_picture(tmp_path: Path) -> None:
    tried = {
        "jpeg": [(1, 0.9, ""), (2, 0.8, "")],
        CLEAN: [(0, 0.95, "")],
        "pgd": [(n + 1, "", 0.1 * n) for n in range(len(BUDGETS))],
    }
    for kind, rows in tried.items():
        with (tmp_path / f"{kind}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, robustness.COLUMNS, restval="")
            writer.writeheader()
            for severity, auc, success in rows:
                lost = 3 if kind == "jpeg" else 0
                numbers = {"videos": 10, "lost": lost, "auc": auc, "attack_success": success}
                writer.writerow({"kind": kind, "severity": severity, "setting": "s", **numbers})
        (tmp_path / f"{kind}.json").write_text(json.dumps({"model": "one", "split": "test_set"}))
    table_rows = write_table(tmp_path, tmp_path / "table")
    assert [row["kind"] for row in table_rows] == [CLEAN, "jpeg", "jpeg", *["pgd"] * len(BUDGETS)]
    assert {path.name for path in (tmp_path / "table").iterdir()} == {"protocol.json", "robustness.csv", "robustness.png"}
    assert json.loads((tmp_path / "table/protocol.json").read_text())["model"] == "one"
    (tmp_path / "pgd.json").write_text(json.dumps({"model": "other", "split": "test_set"}))
    with pytest.raises(UserError, match="same conditions: model is one for clean and other for pgd; test both again"):
        write_table(tmp_path, tmp_path / "table")
    with pytest.raises(UserError, match="has no results"):
        write_table(tmp_path / "table", tmp_path / "nowhere")


def test_the_networks_of_each_manipulation_make_a_matrix(tmp_path: Path) -> None:
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9}
    matrix = {(a, b): {"count": 9, "auc": estimate} for a in ("FaceSwap", "Deepfakes") for b in ("FaceSwap", "Deepfakes")}
    del matrix["Deepfakes", "FaceSwap"]
    transfer.write_matrix(tmp_path, matrix)
    with (tmp_path / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["trained_on"], row["tested_on"], row["auc"]) for row in rows] == [(*pair, "0.8") for pair in matrix]
    assert (tmp_path / "matrix.png").stat().st_size > 1000


def test_the_command_tests_corruptions_encodings_and_attacks(finished: Project, tmp_path: Path) -> None:
    index, output = tmp_path / "videos.csv", tmp_path / "robustness"
    in_test = [video for video in read_index(finished.folder / "data/index/videos.csv") if video.split == "test_set"]
    videos = [*(video for video in in_test if not video.label)][:6] + [video for video in in_test if video.label][:6]
    write_index(index, videos)
    kinds = {"clean": 1, "blur": 5, "messenger": 3, "fgsm": len(BUDGETS)}
    flags = ("--index", index, "--output_path", output, "--work_path", tmp_path / "work", "--kind", ",".join(kinds))
    finished.stage("model_test_train/evaluate_robustness.py", *flags)
    rows = {kind: pd.read_csv(output / f"{kind}.csv") for kind in kinds}
    assert {kind: len(table) for kind, table in rows.items()} == kinds
    tested = pd.read_csv(finished.folder / "results/tests/videos.csv").set_index("video").loc[[video.video for video in videos]]
    assert rows["clean"].auc[0] == pytest.approx(roc_auc_score(tested.label, tested.fake_probability_raw), abs=1e-6)
    assert rows["blur"].auc.between(0, 1).all()
    assert rows["messenger"].videos.between(1, len(videos)).all()
    assert rows["fgsm"].attack_success.is_monotonic_increasing
    assert not (tmp_path / "work").exists() or not any((tmp_path / "work").iterdir())
    printed = finished.stage(
        "model_test_train/evaluate_robustness.py", "--table", *flags[2:4], "--table_path", tmp_path / "table"
    )
    assert len([line for line in printed.splitlines() if line.startswith("blur ")]) == 5


def test_one_network_is_tested_on_several_datasets(finished: Project, tmp_path: Path) -> None:
    project, data = Project(tmp_path, {"test": {"bootstrap": 100, "threads": 1}}), finished.folder / "data"
    model = ("--model_path", data / "models/best.safetensors")
    printed = project.stage("model_test_train/evaluate_transfer.py", *model, "--datasets", f"A={data}", f"B={data}")
    table = pd.read_csv(tmp_path / "results/datasets/datasets.csv").set_index("tested_on")
    expected = json.loads((finished.folder / "results/tests/metrics.json").read_text())["video"]
    assert list(table.videos) == [expected["count"]] * 2
    assert list(table.auc) == [expected["auc"]["value"]] * 2
    assert [line.partition(":")[0] for line in printed.splitlines() if ": video AUC " in line] == ["A", "B"]


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (robustness_test, ["--kind", "rain"], "rain is not known; there are: clean, gaussian_noise"),
        (cross_test, ["--datasets", "CELEBDF"], "it must be NAME=FOLDER"),
        (cross_test, ["--train_on", "Nothing"], "does not exist|no manipulation 'Nothing'"),
    ],
)
def test_wrong_words_are_refused(command: object, flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *flags])
    with pytest.raises(UserError, match=message):
        command.main()  # type: ignore[attr-defined]
    assert len(set(ROBUSTNESS_KINDS)) == len(ROBUSTNESS_KINDS)
