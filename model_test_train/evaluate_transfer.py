"""Networks that saw one manipulation only, tested on all of them: does what they learnt carry over?

    python model_test_train/evaluate_transfer.py                                            # each manipulation, then the matrix
    python model_test_train/evaluate_transfer.py --train_on FaceSwap --test_on NeuralTextures
    python model_test_train/evaluate_transfer.py --model_path CHECKPOINT --datasets CELEBDF=/path/to/data DFDC=/other/data

A dataset's folder is the `data` of a project: index/videos.csv and crops/.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_test_train.evaluation.plots import told
from model_test_train.metrics.drawing import plt, save_figure
from model_test_train.metrics.intervals import Figure
from pipeline.commands import run_command
from pipeline.errors import UserError, run
from pipeline.index import read_index
from pipeline.outputs import write_csv, write_json
from pipeline.params import load_params, setting, spellings
from pipeline.project import from_root

COLUMNS = ("trained_on", "tested_on", "videos", "auc", "low", "high")
Matrix = dict[tuple[str, str], dict[str, Any]]  # trained on, tested on -> figures


@dataclass(frozen=True)
class Params:
    methods: tuple[str, ...] = setting("manipulations that `dvc repro` trains a network on each")
    num_epochs: int = setting("passes over the crops of one manipulation, and of the originals", low=1)


def train_and_test(method: str, params: Params, index: Path, crops: Path) -> None:
    """The same commands as for all manipulations."""
    if method not in (known := methods_of(index)):
        raise UserError(f"the index has no manipulation '{method}'; there are: {', '.join(known)}")
    models = from_root(f"data/cross/{method}")
    epochs = ("--num_epochs", params.num_epochs, "--patience", params.num_epochs)
    data = ("--index", index, "--crops", crops)
    run_command("model_test_train/train_model.py", "--dataset", method, *epochs, *data, "--output_path", models)
    test(models / "best.safetensors", from_root(f"results/cross/{method}"), index, crops)


def methods_of(index: Path) -> list[str]:
    return sorted({video.method for video in read_index(index) if video.label})


def test(model: Path, output: Path, index: Path, crops: Path) -> None:
    places = ("--index", index, "--crops", crops, "--output_path", output)
    run_command("model_test_train/test_model.py", "--dataset", "All", "--model_path", model, *places)


def read_matrix(folder: Path) -> Matrix:
    """Of the tests that lie in it, one folder for each network."""
    matrix: Matrix = {}
    for metrics in sorted(folder.glob("*/metrics.json")):
        for method, figures in json.loads(metrics.read_text())["video_by_method"].items():
            matrix[metrics.parent.name, method] = figures
    if not matrix:
        raise UserError(f"{folder} holds no tests; cross_test.py without --table makes them")
    return matrix


def write_protocols(folder: Path, results: Path) -> None:
    """What the matrix must be read with: of each network's tests."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(results.glob("*/protocol.json"))}
    write_json(folder / "protocol.json", found)


def write_matrix(folder: Path, matrix: Matrix) -> None:
    rows = [
        {"trained_on": one, "tested_on": other, "videos": figures["count"], **_auc_columns(figures["auc"])}
        for (one, other), figures in matrix.items()
    ]
    write_csv(folder / "matrix.csv", COLUMNS, rows)
    draw_matrix(folder / "matrix.png", matrix)


def _auc_columns(auc: Figure) -> dict[str, float | None]:
    return {"auc": auc["value"], "low": auc["low"], "high": auc["high"]}


def _auc(matrix: Matrix, one: str, other: str) -> Figure:
    return matrix[one, other]["auc"] if (one, other) in matrix else {"value": None}


def draw_matrix(path: Path, matrix: Matrix) -> None:
    trained, tested = (sorted({pair[side] for pair in matrix}) for side in (0, 1))
    values = np.array(
        [[matrix[one, other]["auc"]["value"] if (one, other) in matrix else np.nan for other in tested] for one in trained]
    )
    figure, axes = plt.subplots(figsize=(2.2 + 1.25 * len(tested), 1.4 + 0.75 * len(trained)), layout="constrained")
    shown = axes.imshow(values, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto")  # white is chance
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            auc = matrix[trained[row], tested[column]]["auc"]
            words = told(auc).replace(" (", "\n(")
            axes.text(
                column, row, words, ha="center", va="center", fontsize=8, color="white" if abs(value - 0.5) > 0.35 else "black"
            )
    axes.set(xticks=range(len(tested)), xticklabels=tested, yticks=range(len(trained)), yticklabels=trained)
    axes.set(xlabel="tested on, against the originals", ylabel="trained on")
    figure.colorbar(shown, label="AUC by video; white is chance")
    save_figure(path, figure)


def test_datasets(model: Path, datasets: Mapping[str, Path], output: Path) -> None:
    rows = []
    for name, data in datasets.items():
        test(model, output / name, data / "index/videos.csv", data / "crops")
        auc = json.loads((output / name / "metrics.json").read_text())["video"]
        rows.append({"trained_on": model.stem, "tested_on": name, "videos": auc["count"], **_auc_columns(auc["auc"])})
        print(f"{name}: video AUC {told(auc['auc'])}")
    write_csv(output / "datasets.csv", COLUMNS, rows)
    write_protocols(output, output)


def parse_datasets(given: Sequence[str]) -> dict[str, Path]:
    pairs = [text.partition("=") for text in given]
    for name, sign, path in pairs:
        if not sign or not (Path(path) / "index/videos.csv").is_file():
            raise UserError(
                f"--datasets {name}{sign}{path}: it must be NAME=FOLDER, and FOLDER must hold index/videos.csv and crops/"
            )
    return {name: Path(path).absolute() for name, _, path in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(*spellings("train_on"), metavar="METHOD", help="only this one (default: each, then the matrix)")
    parser.add_argument(*spellings("test_on"), metavar="METHOD", help="the figure to print (default: all)")
    parser.add_argument("--table", action="store_true", help="only the matrix, of what was tested already")
    parser.add_argument(
        *spellings("model_path"), type=Path, default=from_root("data/models/best.safetensors"), help="for --datasets"
    )
    parser.add_argument("--datasets", nargs="+", metavar="NAME=FOLDER", help="test one network on other datasets")
    index, crops = from_root("data/index/videos.csv"), from_root("data/crops")
    parser.add_argument("--index", type=Path, default=index, help="the index of videos (default: data/index/videos.csv)")
    parser.add_argument("--crops", type=Path, default=crops, help="the crops of its videos (default: data/crops)")
    given = parser.parse_args()
    params = load_params("cross_test", Params)
    results = from_root("results/cross")
    if given.datasets:
        test_datasets(given.model_path, parse_datasets(given.datasets), from_root("results/datasets"))
        return
    if not given.table:
        for method in [given.train_on] if given.train_on else params.methods or methods_of(given.index):
            train_and_test(method, params, given.index.absolute(), given.crops.absolute())
    matrix = read_matrix(results)
    for (one, other), figures in matrix.items():
        if given.train_on in (None, one) and given.test_on in (None, other):
            print(f"trained on {one}, tested on {other}: video AUC {told(figures['auc'])}")
    if not given.train_on:
        write_matrix(from_root("results/cross_matrix"), matrix)
        write_protocols(from_root("results/cross_matrix"), results)


if __name__ == "__main__":
    run(main)
