"""HTML page that compares networks: their table, ensembles of them, and their heatmaps of the same faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from benchmarks.all_networks.network_costs import NetworkCosts
from explain_deepfakes.explain_model.figures.html import embed_image, load_template
from explain_deepfakes.explain_model.figures.sample_figure import Panels, write_figure
from explain_deepfakes.explain_model.inputs.samples import ExplainedSample, read_json, read_table, read_true_mask
from explain_deepfakes.model_test_train.ensembles.members import results_folder
from explain_deepfakes.model_test_train.metrics.intervals import Estimate
from explain_deepfakes.pipeline.outputs import write_text
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.crops.stores import read_crop

FACES_PER_METHOD = 2
MAX_DISAGREEMENTS = 12  # videos in the table of an ensemble's largest disagreements
OPACITY = 0.6


class NetworkRow(NetworkCosts):
    """A row of networks.csv."""

    network: str
    backbone: str
    detector: str
    videos: int
    auc: float
    auc_low: float | None
    auc_high: float | None
    accuracy: float
    peak_in_mask: float | None
    map: str


class EnsembleProtocol(TypedDict):
    """The keys of protocol.json that the page shows."""

    way: str
    members: list[str]


class ValidationMetrics(TypedDict):
    auc: float
    log_loss: float


class EnsembleFacts(TypedDict):
    """The keys of ensemble.json that the page shows."""

    validation: dict[str, ValidationMetrics]
    held_out: bool


class EnsembleSection(TypedDict):
    """An ensemble, as the page shows it."""

    video: dict[str, int | Estimate]
    uncertain: int
    protocol: EnsembleProtocol
    facts: EnsembleFacts
    weights: dict[str, float] | None
    votes: list[dict[str, str]]


def write_page(folder: Path, rows: Sequence[NetworkRow], samples: Sequence[ExplainedSample]) -> None:
    explanations = {row["network"]: NetworkExplanations.read(row["network"]) for row in rows}
    figure_paths = [path for sample in select_samples(samples) if (path := draw_comparison(folder, sample, explanations))]
    protocols = [read_json(path) for path in sorted(from_root("results/networks").glob("*/tests/protocol.json"))]
    page = load_template("networks.html.j2", Path(__file__).parent).render(
        rows=rows,
        warnings=sorted({protocol["warning"] for protocol in protocols if protocol["warning"]}),
        plot=embed_image(folder / "networks.png"),
        ensembles=[ensemble_section(path) for path in sorted(from_root("results/ensembles").glob("*")) if path.is_dir()],
        faces=[{"name": path.stem, "picture": embed_image(path)} for path in figure_paths],
    )
    write_text(folder / "index.html", page)


def select_samples(samples: Sequence[ExplainedSample]) -> list[ExplainedSample]:
    """The first samples of each method."""
    by_method: dict[str, list[ExplainedSample]] = {}
    for sample in samples:
        by_method.setdefault(sample.video.method, []).append(sample)
    return [sample for method in sorted(by_method) for sample in by_method[method][:FACES_PER_METHOD]]


@dataclass(frozen=True)
class NetworkExplanations:
    """The output of the stage explain for a network."""

    folder: Path
    by_map: dict[str, dict[str, str]]  # path of the map -> row of explanations.csv

    @classmethod
    def read(cls, network: str) -> "NetworkExplanations":
        folder = results_folder(network) / "explanation"
        return cls(folder, {row["map"]: row for row in read_table(folder / "explanations.csv")})


def draw_comparison(folder: Path, sample: ExplainedSample, explanations: dict[str, NetworkExplanations]) -> Path | None:
    """Draw the face with the evidence for the verdict of each network that explained it; None if there is none."""
    titles, heats = [], []
    for network, explanation in explanations.items():
        if row := explanation.by_map.get(f"maps/{sample.name}.npy"):
            titles.append(f"{network}: {row['verdict']}, {float(row['video_probability']):.2f}")
            heats.append(np.load(explanation.folder / row["map"]))
    if not heats:
        return None
    crop, mask = read_crop(sample.crop.path), read_true_mask(sample)
    panels = Panels(("the face", *titles), OPACITY, warning=None)
    pictures = [panels.face(crop), *(panels.face_with_heat(crop, heat, mask) for heat in heats)]
    path = folder / "faces" / f"{sample.name}.png"
    write_figure(path, panels.render("fake" if sample.video.label else "real", "black", sample.description, pictures))
    return path


def ensemble_section(results: Path) -> EnsembleSection:
    metrics = read_json(results / "metrics.json")
    protocol = read_json(results / "protocol.json")
    facts = read_json(from_root("data/ensembles") / results.name / "ensemble.json")
    votes = sorted(read_table(results / "votes.csv"), key=lambda row: -float(row["disagreement"]))
    weights = facts["learnt"].get("weights")
    return {
        "video": metrics["video"],
        "uncertain": metrics["abstaining"]["uncertain"],
        "protocol": protocol,
        "facts": facts,
        "weights": weights and dict(zip(protocol["members"], weights, strict=True)),
        "votes": votes[:MAX_DISAGREEMENTS],
    }
