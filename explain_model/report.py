"""Stage report: figures, ROC and heatmaps -> results/report/index.html, one page that opens offline and shows it all."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml
from PIL import Image

from explain_model.inputs.samples import read_json, read_table
from pipeline.errors import run
from pipeline.outputs import write_text
from pipeline.params import PathFlag, read_command_line, setting
from pipeline.project import from_root

WEBP_QUALITY = 82
PAIRS_PER_METHOD = 4  # of the gallery's faces, shown beside their originals
PLOTS = ("roc_curve", "precision_recall", "histogram", "calibration", "confusion")
TRUST_PLOTS = ("localisation", "removal", "shuffled")
OUTCOMES = ("TP", "TN", "FP", "FN")


@dataclass(frozen=True)
class Params:
    samples_per_method: int = setting("faces in the gallery for each method", low=1)


@dataclass(frozen=True)
class Card:
    """A face in the gallery."""

    video: str
    method: str
    outcome: str
    peak: str  # inside, outside or unknown: where the heat's peak lies
    picture: str  # as a data address
    pair: str  # the fake beside its original, or empty


def embedded(path: Path) -> str:
    """A picture as an address that holds all of it, so that the page needs no other file."""
    content = io.BytesIO()
    Image.open(path).convert("RGB").save(content, "WEBP", quality=WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def gallery(explanation: Path, samples_per_method: int) -> list[Card]:
    """The first faces of each method; mistakes come first, since they are what one must see."""
    rows = read_table(explanation / "explanations.csv")
    chosen: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row["outcome"] in ("TP", "TN"), row["video"])):
        chosen.setdefault(row["method"], []).append(row)
    return [
        Card(
            row["video"],
            method,
            row["outcome"],
            {"True": "inside", "False": "outside", "": "unknown"}[row["peak_in_mask"]],
            embedded(explanation / row["figure"]),
            embedded(explanation / row["pair"]) if row["pair"] and number < PAIRS_PER_METHOD else "",
        )
        for method in sorted(chosen)
        for number, row in enumerate(chosen[method][:samples_per_method])
    ]


def sheets_in(videos: Path) -> list[Path]:
    return sorted(videos.rglob("contact_sheet.png"))


def stages(dvc_yaml: Path) -> list[dict[str, str]]:
    """The DAG as dvc.yaml has it: name and purpose of each stage that always runs, in the order in which a video passes."""
    listed = yaml.safe_load(dvc_yaml.read_text())["stages"]
    return [{"name": name, "desc": stage.get("desc", "")} for name, stage in listed.items() if "matrix" not in stage]


def template(name: str, folder: Path = Path(__file__).parent) -> jinja2.Template:
    """A page of that folder, which knows how to write a figure with its interval, and looks as those of this one."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval"] = lambda figure: jinja2.utils.markupsafe.Markup(interval(figure))
    return environment.get_template(name)


def interval(figure: dict[str, float | None] | None) -> str:
    """A figure with its interval, in words for a table."""
    if not figure or figure["value"] is None:
        return "–"
    if figure.get("low") is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} <small>({figure['low']:.3f} to {figure['high']:.3f})</small>"


def main() -> None:
    params, paths = read_command_line(
        __doc__,
        "report",
        Params,
        models=PathFlag("data/models", "what the stage train left"),
        tests=PathFlag("results/tests", "what the stage test left"),
        explanation=PathFlag("results/explanation", "what the stage explain left"),
        videos=PathFlag("results/explained_videos", "what the stage explain_videos left"),
        evaluation=PathFlag("results/explanation_evaluation", "what the stage evaluate_explanations left"),
        output_path=PathFlag("results/report", "where the page goes"),
    )
    cards = gallery(paths.explanation, params.samples_per_method)
    page = template("report.html.j2").render(
        stages=stages(from_root("dvc.yaml")),
        protocol=read_json(paths.tests / "protocol.json"),
        measured=read_json(paths.tests / "metrics.json"),
        trust=read_json(paths.evaluation / "metrics.json"),
        trust_plots={name: embedded(paths.evaluation / f"{name}.png") for name in TRUST_PLOTS},
        training=read_json(paths.models / "metrics.json"),
        plots={name: embedded(paths.tests / f"{name}.png") for name in PLOTS},
        sheets={sheet.parent.relative_to(paths.videos).as_posix(): embedded(sheet) for sheet in sheets_in(paths.videos)},
        cards=cards,
        methods=sorted({card.method for card in cards}),
        outcomes=[outcome for outcome in OUTCOMES if any(card.outcome == outcome for card in cards)],
    )
    write_text(paths.output_path / "index.html", page)
    print(f"open {paths.output_path / 'index.html'}")


if __name__ == "__main__":
    run(main)
