"""Stage report: a single page with metrics, plots and heatmaps that works offline."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import yaml

from explain_deepfakes.explain_model.figures.html import embed_image, load_template
from explain_deepfakes.explain_model.figures.params import ReportParams
from explain_deepfakes.explain_model.inputs.samples import read_json, read_table
from explain_deepfakes.pipeline.outputs import write_text
from explain_deepfakes.pipeline.project import find_file

PAIRS_PER_METHOD = 4  # faces in the gallery that are shown next to their originals
PLOTS = ("roc_curve", "precision_recall", "histogram", "calibration", "confusion")
TRUST_PLOTS = ("localisation", "removal", "shuffled")
OUTCOMES = ("TP", "TN", "FP", "FN")


@dataclass(frozen=True)
class GalleryFace:
    """A face in the gallery."""

    video: str
    method: str
    outcome: str
    peak: str  # location of the heat's peak: inside, outside or unknown
    picture: str  # as a data URL
    pair: str  # data URL of the fake next to its original, or empty


def build_gallery(explanation: Path, samples_per_method: int) -> list[GalleryFace]:
    """The first faces of each method, misclassified ones first."""
    rows = read_table(explanation / "explanations.csv")
    by_method: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row["outcome"] in ("TP", "TN"), row["video"])):
        by_method.setdefault(row["method"], []).append(row)
    return [
        GalleryFace(
            row["video"],
            method,
            row["outcome"],
            {"True": "inside", "False": "outside", "": "unknown"}[row["peak_in_mask"]],
            embed_image(explanation / row["figure"]),
            embed_image(explanation / row["pair"]) if row["pair"] and number < PAIRS_PER_METHOD else "",
        )
        for method in sorted(by_method)
        for number, row in enumerate(by_method[method][:samples_per_method])
    ]


def find_contact_sheets(videos: Path) -> list[Path]:
    return sorted(videos.rglob("contact_sheet.png"))


def read_stages(dvc_yaml: Path) -> list[dict[str, str]]:
    """Name and description of each stage in dvc.yaml that is not repeated for several names, in order."""
    stages = yaml.safe_load(dvc_yaml.read_text())["stages"]
    single = {name: stage for name, stage in stages.items() if not {"matrix", "foreach"} & stage.keys()}
    return [{"name": name, "desc": stage.get("desc", "")} for name, stage in single.items()]


def write_report(params: ReportParams, paths: Namespace) -> None:
    faces = build_gallery(paths.explanation, params.samples_per_method)
    sheets = find_contact_sheets(paths.videos)
    page = load_template("report.html.j2").render(
        stages=read_stages(find_file("dvc.yaml")),
        protocol=read_json(paths.tests / "protocol.json"),
        metrics=read_json(paths.tests / "metrics.json"),
        trust=read_json(paths.evaluation / "metrics.json"),
        trust_plots={name: embed_image(paths.evaluation / f"{name}.png") for name in TRUST_PLOTS},
        training=read_json(paths.models / "metrics.json"),
        plots={name: embed_image(paths.tests / f"{name}.png") for name in PLOTS},
        sheets={sheet.parent.relative_to(paths.videos).as_posix(): embed_image(sheet) for sheet in sheets},
        faces=faces,
        methods=sorted({face.method for face in faces}),
        outcomes=[outcome for outcome in OUTCOMES if any(face.outcome == outcome for face in faces)],
    )
    write_text(paths.output_path / "index.html", page)
    print(f"Open {paths.output_path / 'index.html'}")
