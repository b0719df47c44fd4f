"""Parts of the HTML pages: templates and embedded pictures."""

import base64
import io
from pathlib import Path

import jinja2
from PIL import Image

from explain_deepfakes.model_test_train.metrics.intervals import Estimate

TEMPLATES = Path(__file__).parents[1]
WEBP_QUALITY = 82


def embed_image(path: Path) -> str:
    """The picture as a data URL, so that the page needs no other file."""
    content = io.BytesIO()
    Image.open(path).convert("RGB").save(content, "WEBP", quality=WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def load_template(name: str, folder: Path = TEMPLATES) -> jinja2.Template:
    """A template of that folder. It can include report.css from explain_model/ and use the filter `interval` for estimates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
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
