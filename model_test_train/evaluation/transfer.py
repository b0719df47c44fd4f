"""Generalisation: networks trained on one manipulation, tested on all."""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from explain_deepfakes.model_test_train.evaluation.params import TransferParams
from explain_deepfakes.model_test_train.evaluation.testing import MetricTable, get_estimate
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.metrics.intervals import Estimate, format_estimate
from explain_deepfakes.pipeline.commands import run_command
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.outputs import write_csv, write_json
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import from_root

COLUMNS = ("trained_on", "tested_on", "videos", "auc", "low", "high")
Matrix = dict[tuple[str, str], MetricTable]  # (trained on, tested on) -> metrics by video


def train_and_test(method: str, params: TransferParams, index: Path, crops: Path) -> None:
    """Train on one manipulation and test on all, with the same commands as for all manipulations."""
    if method not in (known := list_methods(index)):
        raise UserError(f"the index has no manipulation '{method}'; there are: {', '.join(known)}")
    models = from_root(f"data/cross/{method}")
    epochs = ("--num_epochs", params.num_epochs, "--patience", params.num_epochs)
    data = ("--index", index, "--crops", crops)
    run_command("model_test_train/train_model.py", "--dataset", method, *epochs, *data, "--output_path", models)
    run_test(models / "best.safetensors", from_root(f"results/cross/{method}"), index, crops)


def list_methods(index: Path) -> list[str]:
    return sorted({video.method for video in read_index(index) if video.label})


def run_test(model: Path, output: Path, index: Path, crops: Path) -> None:
    paths = ("--index", index, "--crops", crops, "--output_path", output)
    run_command("model_test_train/test_model.py", "--dataset", "All", "--model_path", model, *paths)


def read_matrix(folder: Path) -> Matrix:
    """Read the tests of all networks, one subfolder each."""
    matrix: Matrix = {}
    for path in sorted(folder.glob("*/metrics.json")):
        for method, metrics in json.loads(path.read_text())["video_by_method"].items():
            matrix[path.parent.name, method] = metrics
    if not matrix:
        raise UserError(f"{folder} has no tests; run evaluate_transfer.py without --table to make them")
    return matrix


def write_protocols(folder: Path, results: Path) -> None:
    """Write the protocols of all tests into one file."""
    protocols = {path.parent.name: json.loads(path.read_text()) for path in sorted(results.glob("*/protocol.json"))}
    write_json(folder / "protocol.json", protocols)


def write_matrix(folder: Path, matrix: Matrix) -> None:
    rows = [
        {
            "trained_on": trained_on,
            "tested_on": tested_on,
            "videos": metrics["count"],
            **_auc_columns(get_estimate(metrics, "auc")),
        }
        for (trained_on, tested_on), metrics in matrix.items()
    ]
    write_csv(folder / "matrix.csv", COLUMNS, rows)
    draw_matrix(folder / "matrix.png", matrix)


def _auc_columns(auc: Estimate) -> dict[str, float | None]:
    return {"auc": auc["value"], "low": auc["low"], "high": auc["high"]}


def draw_matrix(path: Path, matrix: Matrix) -> None:
    trained, tested = (sorted({pair[side] for pair in matrix}) for side in (0, 1))
    values = np.array([[_auc_or_nan(matrix, row, column) for column in tested] for row in trained])
    figure, axes = plt.subplots(figsize=(2.2 + 1.25 * len(tested), 1.4 + 0.75 * len(trained)), layout="constrained")
    image = axes.imshow(values, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto")  # white is chance
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            text = format_estimate(get_estimate(matrix[trained[row], tested[column]], "auc")).replace(" (", "\n(")
            colour = "white" if abs(value - 0.5) > 0.35 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set(xticks=range(len(tested)), xticklabels=tested, yticks=range(len(trained)), yticklabels=trained)
    axes.set(xlabel="tested on, against the originals", ylabel="trained on")
    figure.colorbar(image, label="AUC by video; white is chance")
    save_figure(path, figure)


def _auc_or_nan(matrix: Matrix, trained_on: str, tested_on: str) -> float | None:
    return get_estimate(matrix[trained_on, tested_on], "auc")["value"] if (trained_on, tested_on) in matrix else np.nan


def test_datasets(model: Path, datasets: Mapping[str, Path], output: Path) -> None:
    rows = []
    for name, data in datasets.items():
        run_test(model, output / name, data / "index/videos.csv", data / "crops")
        metrics: MetricTable = json.loads((output / name / "metrics.json").read_text())["video"]
        auc = get_estimate(metrics, "auc")
        rows.append({"trained_on": model.stem, "tested_on": name, "videos": metrics["count"], **_auc_columns(auc)})
        print(f"{name}: video AUC {format_estimate(auc)}")
    write_csv(output / "datasets.csv", COLUMNS, rows)
    write_protocols(output, output)


def parse_datasets(texts: Sequence[str]) -> dict[str, Path]:
    """Parse the NAME=FOLDER arguments of --datasets."""
    pairs = [text.partition("=") for text in texts]
    for name, sign, path in pairs:
        if not sign or not (Path(path) / "index/videos.csv").is_file():
            raise UserError(
                f"--datasets {name}{sign}{path}: it must be NAME=FOLDER, and FOLDER must have index/videos.csv and crops/"
            )
    return {name: Path(path).absolute() for name, _, path in pairs}


def evaluate_transfer(args: Namespace) -> None:
    params = load_params("evaluate_transfer", TransferParams)
    results = from_root("results/cross")
    if args.datasets:
        test_datasets(args.model_path, parse_datasets(args.datasets), from_root("results/datasets"))
        return
    if not args.table:
        for method in [args.train_on] if args.train_on else params.methods or list_methods(args.index):
            train_and_test(method, params, args.index.absolute(), args.crops.absolute())
    matrix = read_matrix(results)
    for (trained_on, tested_on), metrics in matrix.items():
        if args.train_on in (None, trained_on) and args.test_on in (None, tested_on):
            auc = format_estimate(get_estimate(metrics, "auc"))
            print(f"trained on {trained_on}, tested on {tested_on}: video AUC {auc}")
    if not args.train_on:
        write_matrix(from_root("results/cross_matrix"), matrix)
        write_protocols(from_root("results/cross_matrix"), results)
