"""The checkpoint that is used if none is named."""

from pathlib import Path

from explain_deepfakes.pipeline.project import CODE, from_root

SHIPPED = CODE / "detector/faces.safetensors"  # trained on real faces; detector/README.md reports its accuracy


def default_model(demo: bool) -> Path:
    """The detector shipped with the project, or for the demo, the network that its own DAG trained on drawings."""
    return from_root("data/models/best.safetensors") if demo else SHIPPED
