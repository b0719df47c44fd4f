"""The standard protocol: tests of networks on several datasets -> one table, beside published results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from explain_deepfakes.model_test_train.evaluation.testing import MetricsRecord, get_estimate
from explain_deepfakes.model_test_train.metrics.intervals import Estimate, format_estimate
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_csv, write_json, write_text
from explain_deepfakes.pipeline.params import read_yaml

PUBLISHED = Path(__file__).with_name("published_results.yaml")
METRICS = {"frame_auc": ("frame", "auc"), "video_auc": ("video", "auc"), "eer": ("video", "eer"), "ap": ("video", "ap")}
ESTIMATES = tuple(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high"))
COLUMNS = ("methods", "seed", "tested_on", "videos", "no_verdict", *ESTIMATES)
METHOD_COLUMNS = ("methods", "seed", "tested_on", "method", "videos", "video_auc", "video_auc_low", "video_auc_high")
Row = dict[str, object]


@dataclass(frozen=True)
class ProtocolTest:
    """A network's test on one dataset. `methods` and `seed` are what it was trained with."""

    methods: str
    seed: str
    dataset: str
    folder: Path
    metrics: MetricsRecord


def write_protocol_table(folder: Path, output: Path) -> None:
    tests = find_tests(folder)
    write_csv(output / "table.csv", COLUMNS, [_row(test) for test in tests])
    write_csv(output / "methods.csv", METHOD_COLUMNS, [row for test in tests for row in _method_rows(test)])
    protocols = {
        str(test.folder.relative_to(folder)): json.loads((test.folder / "protocol.json").read_text()) for test in tests
    }
    write_json(output / "protocol.json", protocols)
    text = "\n".join(format_page(tests, folder.name)) + "\n"
    write_text(output / "table.md", text)
    print(text)


def find_tests(folder: Path) -> list[ProtocolTest]:
    """The tests below a folder, METHODS/SEED/DATASET."""
    paths = sorted(path.parent for path in folder.glob("*/*/*/metrics.json"))
    if not paths:
        raise UserError(f"{folder} has no tests; name datasets in the section protocol of params.yaml, and run `dvc repro`")
    return [ProtocolTest(*_names(path), path, json.loads((path / "metrics.json").read_text())) for path in paths]


def _names(folder: Path) -> tuple[str, str, str]:
    methods, seed, dataset = folder.parts[-3:]
    return methods, seed, dataset


def _row(test: ProtocolTest) -> Row:
    return {
        "methods": test.methods,
        "seed": test.seed,
        "tested_on": test.dataset,
        "videos": test.metrics["video"]["count"],
        "no_verdict": test.metrics["no_verdict"],
        **{column: value for name in METRICS for column, value in _columns(name, _estimate(test, name)).items()},
    }


def _estimate(test: ProtocolTest, name: str) -> Estimate:
    unit, metric = METRICS[name]
    return get_estimate(test.metrics["frame" if unit == "frame" else "video"], metric)


def _columns(name: str, estimate: Estimate) -> Row:
    return {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}


def _method_rows(test: ProtocolTest) -> Iterator[Row]:
    of_test = {"methods": test.methods, "seed": test.seed, "tested_on": test.dataset}
    for method, metrics in test.metrics["video_by_method"].items():
        yield {**of_test, "method": method, "videos": metrics["count"], **_columns("video_auc", get_estimate(metrics, "auc"))}


def format_page(tests: Sequence[ProtocolTest], trained_on: str) -> Iterator[str]:
    """The lines of a Markdown page."""
    yield f"# Trained on {trained_on}"
    yield ""
    yield "| trained with | tested on | videos | AUC by frame | AUC by video | EER | AP |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for test in tests:
        cells = [format_estimate(_estimate(test, name)) for name in METRICS]
        yield _line(f"{test.methods}, seed {test.seed}", test.dataset, test.metrics["video"]["count"], *cells)
    yield from _format_seeds(tests)
    yield from _format_published(trained_on, {test.dataset: test.metrics["video"]["count"] for test in tests})


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _format_seeds(tests: Sequence[ProtocolTest]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[float]] = {}
    for test in tests:
        if (auc := _estimate(test, "video_auc")["value"]) is not None:
            groups.setdefault((test.methods, test.dataset), []).append(auc)
    if repeated := {group: values for group, values in groups.items() if len(values) > 1}:
        yield "\n## Seeds\n"
        yield "| trained with | tested on | seeds | mean AUC by video | standard deviation |"
        yield "| --- | --- | --- | --- | --- |"
        for (methods, dataset), values in repeated.items():
            yield _line(methods, dataset, len(values), f"{mean(values):.3f}", f"{stdev(values):.3f}")


def _format_published(trained_on: str, video_counts: Mapping[str, object]) -> Iterator[str]:
    """Published results on these datasets, which are recognised by their names."""
    published = read_yaml(PUBLISHED)
    datasets = [name for name in published["datasets"] if name in video_counts]
    if not datasets or trained_on != published["trained_on"]:
        return
    yield "\n## Published results\n"
    yield _line("network", "source", "AUC by", *datasets)
    yield _line(*["---"] * (3 + len(datasets)))
    for result in published["results"]:
        values = (result["auc"].get(name) for name in datasets)
        yield _line(result["network"], result["source"], result["unit"], *("" if auc is None else auc for auc in values))
    yield "\nThey are comparable if the videos are the same:\n"
    for name in datasets:
        yield f"- {name}: {published['datasets'][name]}; here {video_counts[name]} videos have a verdict."
