"""The page of all networks: their table, ensembles of them, and the same faces as each of them saw them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explain_model.figures.sample_figure import Panels, write_figure
from explain_model.inputs.samples import ExplainedSample, read_table, true_mask
from explain_model.report import embedded, template
from model_test_train.ensembles.members import results_of
from pipeline.outputs import write_text
from pipeline.project import from_root
from preprocessing.crops.stores import read_crop

FACES_PER_METHOD = 2
DISAGREEMENTS = 12
OPACITY = 0.6
Row = dict[str, Any]


def write_page(folder: Path, rows: Sequence[Row], samples: Sequence[ExplainedSample]) -> None:
    explained = {row["network"]: Explained.by(row["network"]) for row in rows}
    faces = [drawn for sample in chosen(samples) if (drawn := side_by_side(folder, sample, explained))]
    protocols = [json.loads(path.read_text()) for path in sorted(from_root("results/networks").glob("*/tests/protocol.json"))]
    page = template("networks.html.j2").render(
        rows=rows,
        warnings=sorted({protocol["warning"] for protocol in protocols if protocol["warning"]}),
        plot=embedded(folder / "networks.png"),
        ensembles=[ensemble(path) for path in sorted(from_root("results/ensembles").glob("*")) if path.is_dir()],
        faces=[{"name": path.stem, "picture": embedded(path)} for path in faces],
    )
    write_text(folder / "index.html", page)


def chosen(samples: Sequence[ExplainedSample]) -> list[ExplainedSample]:
    """The first of each method."""
    by_method: dict[str, list[ExplainedSample]] = {}
    for sample in samples:
        by_method.setdefault(sample.video.method, []).append(sample)
    return [sample for method in sorted(by_method) for sample in by_method[method][:FACES_PER_METHOD]]


@dataclass(frozen=True)
class Explained:
    """What a network explained."""

    folder: Path
    by_map: dict[str, dict[str, str]]  # rows of its table

    @classmethod
    def by(cls, network: str) -> "Explained":
        folder = results_of(network) / "explanation"
        return cls(folder, {row["map"]: row for row in read_table(folder / "explanations.csv")})


def side_by_side(folder: Path, sample: ExplainedSample, explained: dict[str, Explained]) -> Path | None:
    """The face, and what spoke for the verdict of each network that explained it."""
    titles, heats = [], []
    for network, found in explained.items():
        if row := found.by_map.get(f"maps/{sample.name}.npy"):
            titles.append(f"{network}: {row['verdict']}, {float(row['video_probability']):.2f}")
            heats.append(np.load(found.folder / row["map"]))
    if not heats:
        return None
    crop, mask = read_crop(sample.crop.path), true_mask(sample)
    panels = Panels(("the face", *titles), OPACITY, warning=None)
    pictures = [panels.face(crop), *(panels.heated(crop, heat, mask) for heat in heats)]
    path = folder / "faces" / f"{sample.name}.png"
    write_figure(path, panels.filled("fake" if sample.video.label else "real", "black", sample.where, pictures))
    return path


def ensemble(results: Path) -> Row:
    measured = json.loads((results / "metrics.json").read_text())
    protocol = json.loads((results / "protocol.json").read_text())
    facts = json.loads((from_root("data/ensembles") / results.name / "ensemble.json").read_text())
    votes = sorted(read_table(results / "votes.csv"), key=lambda row: -float(row["disagreement"]))
    learnt = facts["learnt"].get("weights")
    return {
        "video": measured["video"],
        "uncertain": measured["abstaining"]["uncertain"],
        "protocol": protocol,
        "facts": facts,
        "weights": learnt and dict(zip(protocol["members"], learnt, strict=True)),
        "votes": votes[:DISAGREEMENTS],
    }
