"""Which network answers if no other is named."""

from pathlib import Path

from pipeline.project import CODE, from_root

SHIPPED = CODE / "detector/faces.safetensors"  # of real faces; detector/README.md says how good it is


def default_model(demo: bool) -> Path:
    """The detector that comes with the project; for the demo, the network that its own DAG trained on drawings."""
    return from_root("data/models/best.safetensors") if demo else SHIPPED
