"""Train, test and explain every network of a folder of YAMLs in the same way, and compare them in a table.

    python benchmarks/all_networks/all_networks.py                                     # on the demo corpus, one after another
    python benchmarks/all_networks/all_networks.py --names meso4,xception
    python benchmarks/all_networks/all_networks.py --configs model_test_train/configs  # as published, on your own corpus
    python benchmarks/all_networks/all_networks.py --table                             # only write the table again

Networks that were tested before are skipped. Writes data/networks, results/networks and results/networks_table.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.all_networks.network_costs import NetworkCosts, measure_costs
from benchmarks.all_networks.networks_page import NetworkRow, write_page
from explain_deepfakes.explain_model.inputs.samples import read_json, read_samples
from explain_deepfakes.explain_model.inputs.test_results import list_samples_lists
from explain_deepfakes.model_test_train.ensembles.members import checkpoint_path, results_folder
from explain_deepfakes.model_test_train.metrics.drawing import plt, save_figure
from explain_deepfakes.model_test_train.metrics.intervals import format_estimate
from explain_deepfakes.model_test_train.networks.network import read_description
from explain_deepfakes.pipeline.commands import run_command
from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.pipeline.index import read_index
from explain_deepfakes.pipeline.outputs import write_csv, write_json, write_text
from explain_deepfakes.pipeline.params import flag_spellings, load_params, setting
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.crops.crops import read_crops

TEST_COLUMNS = ("videos", "auc", "auc_low", "auc_high", "accuracy", "peak_in_mask", "map")
COLUMNS = ("network", "backbone", "detector", *NetworkCosts.__annotations__, *TEST_COLUMNS)
NAME_LINE = {"arrowstyle": "-", "color": "grey", "lw": 0.5, "shrinkB": 0}  # from a network's name to its point
NAME_OFFSETS = (-34, 30, -48, 44)  # points, vertical, alternating so that names do not overlap


@dataclass(frozen=True)
class NetworksParams:
    configs: str = setting("folder of the networks' YAMLs")
    names: tuple[str, ...] = setting("networks that `dvc repro` trains, tests and explains")
    num_epochs: int = setting("training epochs per network", low=1)


def train_test_and_explain(config: Path, num_epochs: int, data_flags: Sequence[object]) -> None:
    """Run the commands that the pipeline runs for its own network."""
    model, results = checkpoint_path(config.stem), results_folder(config.stem)
    epochs = ("--num_epochs", num_epochs, "--patience", num_epochs)
    run_command("model_test_train/train_model.py", "--config", config, *epochs, *data_flags, "--output_path", model.parent)
    run_command("model_test_train/test_model.py", "--model_path", model, *data_flags, "--output_path", results / "tests")
    test_flags = ("--model_path", model, "--tests", results / "tests", *data_flags)
    sample_flags = ("--samples", samples_list) if (samples_list := find_reference_samples()) else ()
    run_command("explain_model/explain_model.py", *test_flags, *sample_flags, "--output_path", results / "explanation")
    evaluation_flags = ("--methods", "[best]", "--road_faces", 0, "--output_path", results / "explanation_evaluation")
    run_command("explain_model/evaluate_explanations.py", *test_flags, *evaluation_flags)


def find_reference_samples() -> Path | None:
    """The samples of the pipeline's own network, if it was tested, so that all networks explain the same faces."""
    return next(iter(list_samples_lists(from_root("results/tests"))), None)


def is_evaluated(network: str) -> bool:
    return (results_folder(network) / "explanation_evaluation/metrics.json").is_file()


def network_row(config: Path) -> NetworkRow | None:
    """The network's row of the table; None if it was not tested."""
    if not is_evaluated(config.stem):
        return None
    results = results_folder(config.stem)
    description = read_description(config)
    video = read_json(results / "tests/metrics.json")["video"]
    trust = read_json(results / "explanation_evaluation/metrics.json")
    peak = trust["maps"].get(trust["method"], {}).get("peak", {})
    return {
        "network": config.stem,
        "backbone": str(description["backbone"]["name"]),
        "detector": str(description["detector"]["name"]),
        **measure_costs(checkpoint_path(config.stem)),
        "videos": video["count"],
        "auc": video["auc"]["value"],
        "auc_low": video["auc"]["low"],
        "auc_high": video["auc"]["high"],
        "accuracy": video["accuracy"]["value"],
        "peak_in_mask": peak.get("value"),
        "map": trust["method"],
    }


def write_table(folder: Path, rows: Sequence[NetworkRow]) -> None:
    write_csv(folder / "networks.csv", COLUMNS, rows)
    write_text(folder / "networks.md", to_markdown(rows))
    draw_networks(folder / "networks.png", rows)
    protocols = {row["network"]: read_json(results_folder(row["network"]) / "tests/protocol.json") for row in rows}
    write_json(folder / "protocol.json", protocols)


def to_markdown(rows: Sequence[NetworkRow]) -> str:
    """The table for the docs."""
    head = (
        "| network | million weights | GFLOPs per picture | pictures per second | peak MB "
        "| AUC by video (95 %) | peak in the ground-truth mask |\n"
    )
    lines = [
        f"| {row['network']} | {row['weights'] / 1e6:.2f} | {row['flops'] / 1e9:.2f} | {row['pictures_a_second']:.0f} | "
        f"{row['peak_mb']} | {format_estimate({'value': row['auc'], 'low': row['auc_low'], 'high': row['auc_high']})} | "
        f"{'–' if row['peak_in_mask'] is None else format(row['peak_in_mask'], '.0%')} ({row['map']}) |\n"
        for row in rows
    ]
    return head + "| --- " * 7 + "|\n" + "".join(lines)


def draw_networks(path: Path, rows: Sequence[NetworkRow]) -> None:
    """Plot AUC over throughput."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, row in enumerate(sorted(rows, key=lambda row: row["pictures_a_second"])):
        x, y = row["pictures_a_second"], row["auc"]
        low, high = row["auc_low"] or y, row["auc_high"] or y
        axes.errorbar(x, y, [[y - low], [high - y]], fmt="o", color="#0b7077")
        offset = (-3, NAME_OFFSETS[number % len(NAME_OFFSETS)])
        axes.annotate(row["network"], (x, y), offset, textcoords="offset points", fontsize=8, ha="center", arrowprops=NAME_LINE)
    axes.set(xscale="log", ylim=(0.3, 1.2), xlabel="pictures per second", ylabel="AUC by video (95 % interval)")
    axes.axhline(0.5, color="grey", lw=0.8, ls=":")
    save_figure(path, figure)


def main() -> None:
    params = load_params("networks", NetworksParams)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], epilog="Defaults: params.yaml, section networks."
    )
    parser.add_argument(
        "--configs",
        type=Path,
        default=from_root(params.configs),
        help=f"folder of the networks' YAMLs (default: {params.configs})",
    )
    parser.add_argument(
        "--names", type=lambda text: text.split(","), help="names of networks, separated by commas (default: all)"
    )
    parser.add_argument(
        *flag_spellings("num_epochs"),
        type=int,
        default=params.num_epochs,
        help="training epochs per network (default: %(default)s)",
    )
    parser.add_argument("--table", action="store_true", help="only write the table, of networks that were tested before")
    index, crops = from_root("data/index/videos.csv"), from_root("data/crops")
    parser.add_argument("--index", type=Path, default=index, help="index of the videos (default: data/index/videos.csv)")
    parser.add_argument("--crops", type=Path, default=crops, help="folder of the crops (default: data/crops)")
    args = parser.parse_args()
    configs = select_configs(args.configs, args.names)
    for config in () if args.table else configs:
        if not is_evaluated(config.stem):
            print(f"== {config.stem}", flush=True)
            data_flags = ("--index", args.index.absolute(), "--crops", args.crops.absolute())
            train_test_and_explain(config.absolute(), args.num_epochs, data_flags)
    rows = [row for row in map(network_row, configs) if row]
    if not rows:
        raise UserError("none of these networks was tested yet; run the command without --table")
    table = from_root("results/networks_table")
    write_table(table, rows)
    samples_list, tests = find_reference_samples(), from_root("results/tests")
    samples = read_samples(samples_list, tests, read_index(args.index), read_crops(args.crops)) if samples_list else []
    write_page(table, rows, samples)
    print(to_markdown(rows), end="")
    print(f"Open {table / 'index.html'}")


def select_configs(folder: Path, names: Sequence[str] | None) -> list[Path]:
    configs = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if unknown := [name for name in names or () if name not in configs]:
        raise UserError(f"--names: {folder} has no {unknown[0]}.yaml; there are: {', '.join(configs) or 'none'}")
    return [configs[name] for name in names or configs]


if __name__ == "__main__":
    run(main)
