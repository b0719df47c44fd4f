"""Every network of a folder of YAMLs, trained, tested and explained in the same way; and the table of them all.

    python benchmarks/all_networks/all_networks.py                                          # on the demo corpus, each in turn
    python benchmarks/all_networks/all_networks.py --names meso4,xception
    python benchmarks/all_networks/all_networks.py --configs model_test_train/configs       # as published, on your own corpus
    python benchmarks/all_networks/all_networks.py --table     # only the table, of what was tested already

A network that was tested already is left as it is. Writes data/networks, results/networks and results/networks_table.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.all_networks.network_costs import COSTS, measured_costs
from benchmarks.all_networks.networks_page import write_page
from explain_model.inputs.samples import read_samples
from explain_model.inputs.test_results import samples_lists
from model_test_train.ensembles.members import model_of, results_of
from model_test_train.evaluation.plots import told
from model_test_train.metrics.drawing import plt, save_figure
from model_test_train.networks.network import read_description
from pipeline.commands import run_command
from pipeline.errors import UserError, run
from pipeline.index import read_index
from pipeline.outputs import write_csv, write_json, write_text
from pipeline.params import load_params, setting, spellings
from pipeline.project import from_root
from preprocessing.crops.crops import read_crops

FIGURES = ("auc", "auc_low", "auc_high", "accuracy", "peak_in_mask", "map")
COLUMNS = ("network", "backbone", "detector", *COSTS, "videos", *FIGURES)
LEADER = {"arrowstyle": "-", "color": "grey", "lw": 0.5, "shrinkB": 0}  # a line from a network's name
Row = dict[str, Any]


@dataclass(frozen=True)
class Params:
    configs: str = setting("folder of the YAMLs")
    names: tuple[str, ...] = setting("those of them that `dvc repro` trains, tests and explains")
    num_epochs: int = setting("passes over the training crops, of each", low=1)


def train_test_and_explain(config: Path, num_epochs: int, data: Sequence[object]) -> None:
    """By the same commands as the pipeline's own network."""
    model, results = model_of(config.stem), results_of(config.stem)
    epochs = ("--num_epochs", num_epochs, "--patience", num_epochs)
    run_command("model_test_train/train_model.py", "--config", config, *epochs, *data, "--output_path", model.parent)
    run_command("model_test_train/test_model.py", "--model_path", model, *data, "--output_path", results / "tests")
    tested = ("--model_path", model, "--tests", results / "tests", *data)
    same_faces = ("--samples", reference) if (reference := reference_faces()) else ()
    run_command("explain_model/explain_model.py", *tested, *same_faces, "--output_path", results / "explanation")
    trust = ("--methods", "[best]", "--road_faces", 0, "--output_path", results / "explanation_evaluation")
    run_command("explain_model/evaluate_explanations.py", *tested, *trust)


def reference_faces() -> Path | None:
    """Those that the pipeline's own network explains, if it was tested: so all can be seen side by side."""
    return next(iter(samples_lists(from_root("results/tests"))), None)


def row_of(config: Path) -> Row | None:
    """A network's line in the table, if it was tested."""
    results = results_of(config.stem)
    if not (results / "explanation_evaluation/metrics.json").is_file():
        return None
    description = read_description(config)
    video = json.loads((results / "tests/metrics.json").read_text())["video"]
    trust = json.loads((results / "explanation_evaluation/metrics.json").read_text())
    peak = trust["maps"].get(trust["method"], {}).get("peak", {})
    return {
        "network": config.stem,
        "backbone": description["backbone"]["name"],
        "detector": description["detector"]["name"],
        **measured_costs(model_of(config.stem)),
        "videos": video["count"],
        "auc": video["auc"]["value"],
        "auc_low": video["auc"]["low"],
        "auc_high": video["auc"]["high"],
        "accuracy": video["accuracy"]["value"],
        "peak_in_mask": peak.get("value"),
        "map": trust["method"],
    }


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    write_csv(folder / "networks.csv", COLUMNS, rows)
    write_text(folder / "networks.md", as_markdown(rows))
    draw(folder / "networks.png", rows)
    protocols = {row["network"]: json.loads((results_of(row["network"]) / "tests/protocol.json").read_text()) for row in rows}
    write_json(folder / "protocol.json", protocols)


def as_markdown(rows: Sequence[Row]) -> str:
    """For people, and for the docs."""
    head = (
        "| network | million weights | GFLOPs a picture | pictures a second | peak MB "
        "| AUC by video (95 %) | peak in the true mask |\n"
    )
    lines = [
        f"| {row['network']} | {row['weights'] / 1e6:.2f} | {row['flops'] / 1e9:.2f} | {row['pictures_a_second']:.0f} | "
        f"{row['peak_mb']} | {told({'value': row['auc'], 'low': row['auc_low'], 'high': row['auc_high']})} | "
        f"{'–' if row['peak_in_mask'] is None else format(row['peak_in_mask'], '.0%')} ({row['map']}) |\n"
        for row in rows
    ]
    return head + "| --- " * 7 + "|\n" + "".join(lines)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """How well against how fast."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, row in enumerate(sorted(rows, key=lambda row: row["pictures_a_second"])):
        low, high = row["auc_low"] or row["auc"], row["auc_high"] or row["auc"]
        axes.errorbar(row["pictures_a_second"], row["auc"], [[row["auc"] - low], [high - row["auc"]]], fmt="o", color="#0b7077")
        place, apart = (row["pictures_a_second"], row["auc"]), (-3, (-34, 30, -48, 44)[number % 4])  # in turn
        axes.annotate(row["network"], place, apart, textcoords="offset points", fontsize=8, ha="center", arrowprops=LEADER)
    axes.set(xscale="log", ylim=(0.3, 1.2), xlabel="pictures a second", ylabel="AUC by video (95 % interval)")
    axes.axhline(0.5, color="grey", lw=0.8, ls=":")
    save_figure(path, figure)


def main() -> None:
    params = load_params("networks", Params)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], epilog="Defaults: params.yaml, section networks."
    )
    parser.add_argument("--configs", type=Path, default=from_root(params.configs), help="folder of the YAMLs")
    parser.add_argument("--names", type=lambda text: text.split(","), help="only these of them, with commas")
    parser.add_argument(*spellings("num_epochs"), type=int, default=params.num_epochs, help="of each (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="only the table, of what was tested already")
    index, crops = from_root("data/index/videos.csv"), from_root("data/crops")
    parser.add_argument("--index", type=Path, default=index, help="the index of videos (default: data/index/videos.csv)")
    parser.add_argument("--crops", type=Path, default=crops, help="the crops of its videos (default: data/crops)")
    given = parser.parse_args()
    configs = chosen(given.configs, given.names)
    for config in () if given.table else configs:
        if not (results_of(config.stem) / "explanation_evaluation/metrics.json").is_file():
            print(f"== {config.stem}", flush=True)
            data = ("--index", given.index.absolute(), "--crops", given.crops.absolute())
            train_test_and_explain(config.absolute(), given.num_epochs, data)
    rows = [row for row in map(row_of, configs) if row]
    if not rows:
        raise UserError("none of these networks was tested; leave --table out")
    table = from_root("results/networks_table")
    write_table(table, rows)
    reference, tests = reference_faces(), from_root("results/tests")
    samples = read_samples(reference, tests, read_index(given.index), read_crops(given.crops)) if reference else []
    write_page(table, rows, samples)
    print(as_markdown(rows), end="")
    print(f"open {table / 'index.html'}")


def chosen(folder: Path, names: Sequence[str] | None) -> list[Path]:
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if unknown := [name for name in names or () if name not in known]:
        raise UserError(f"--names: {folder} has no {unknown[0]}.yaml; there are: {', '.join(known) or 'none'}")
    return [known[name] for name in names or known]


if __name__ == "__main__":
    run(main)
