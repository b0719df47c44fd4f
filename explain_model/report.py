"""Stage report: metrics, plots and heatmaps -> results/report/index.html, a single page that works offline."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml
from PIL import Image

from explain_deepfakes.explain_model.inputs.samples import read_json, read_table
from explain_deepfakes.model_test_train.metrics.intervals import Estimate
from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.outputs import write_text
from explain_deepfakes.pipeline.params import PathFlag, read_command_line, setting
from explain_deepfakes.pipeline.project import find_file

WEBP_QUALITY = 82
PAIRS_PER_METHOD = 4  # faces in the gallery that are shown next to their originals
PLOTS = ("roc_curve", "precision_recall", "histogram", "calibration", "confusion")
TRUST_PLOTS = ("localisation", "removal", "shuffled")
OUTCOMES = ("TP", "TN", "FP", "FN")


@dataclass(frozen=True)
class ReportParams:
    samples_per_method: int = setting("faces per method in the gallery", low=1)


@dataclass(frozen=True)
class GalleryFace:
    """A face in the gallery."""

    video: str
    method: str
    outcome: str
    peak: str  # location of the heat's peak: inside, outside or unknown
    picture: str  # as a data URL
    pair: str  # data URL of the fake next to its original, or empty


def embed_image(path: Path) -> str:
    """The picture as a data URL, so that the page needs no other file."""
    content = io.BytesIO()
    Image.open(path).convert("RGB").save(content, "WEBP", quality=WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


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
    """Name and description of each stage in dvc.yaml that is not repeated over a matrix, in order."""
    stages = yaml.safe_load(dvc_yaml.read_text())["stages"]
    return [{"name": name, "desc": stage.get("desc", "")} for name, stage in stages.items() if "matrix" not in stage]


def load_template(name: str, folder: Path = Path(__file__).parent) -> jinja2.Template:
    """A template of that folder. It can include report.css from here and use the filter `interval` for estimates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval"] = lambda estimate: jinja2.utils.markupsafe.Markup(format_estimate_html(estimate))
    return environment.get_template(name)


def format_estimate_html(estimate: Estimate | None) -> str:
    """The estimate with its interval as HTML; a dash if it is missing."""
    if not estimate or estimate["value"] is None:
        return "–"
    if estimate.get("low") is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} <small>({estimate['low']:.3f} to {estimate['high']:.3f})</small>"


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "report",
        ReportParams,
        models=PathFlag("data/models", "output folder of the stage train"),
        tests=PathFlag("results/tests", "output folder of the stage test"),
        explanation=PathFlag("results/explanation", "output folder of the stage explain"),
        videos=PathFlag("results/explained_videos", "output folder of the stage explain_videos"),
        evaluation=PathFlag("results/explanation_evaluation", "output folder of the stage evaluate_explanations"),
        output_path=PathFlag("results/report", "output folder of the page"),
    )
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


if __name__ == "__main__":
    run(main)
