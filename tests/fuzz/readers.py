"""Fuzz the readers of files that others may have written: whatever is in a file, it is read, or refused in words.

    python tests/fuzz/readers.py {index,boxes,card,ensemble,manifest} [FLAGS OF LIBFUZZER] [FOLDERS OF SEEDS]

Needs atheris. `make fuzz` runs each for ten minutes.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import torch

with atheris.instrument_imports(include=["explain_deepfakes", "json"]):
    from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
    from explain_deepfakes.model_test_train.networks.checkpoint import parse_card
    from explain_deepfakes.pipeline.errors import UserError
    from explain_deepfakes.pipeline.index import read_index
    from explain_deepfakes.preprocessing.corpus.layouts.manifest import read_manifest
    from explain_deepfakes.preprocessing.faces.boxes import BadBoxes, read_boxes

MANIFEST_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")


def read_card(path: Path) -> None:
    try:
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    parse_card(fields, path.name)


def read_any_manifest(path: Path) -> None:
    """The first byte decides on the format, and whether columns are named."""
    content = path.read_bytes()
    choice = content[0] if content else 0
    manifest = path.with_suffix(MANIFEST_SUFFIXES[choice % 4])
    manifest.write_bytes(content[1:])
    read_manifest(manifest, path.parent, ("video=file", "label=label") if choice & 4 else (), ())


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "index": (".csv", read_index),
    "boxes": (".json", read_boxes),
    "card": (".json", read_card),
    "ensemble": (".json", lambda path: load_predictor(path, torch.device("cpu"))),
    "manifest": (".any", read_any_manifest),
}


def main() -> None:
    name = sys.argv.pop(1)
    suffix, read = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"

        def read_bytes(data: bytes) -> None:
            path.write_bytes(data)
            try:
                read(path)
            except (UserError, BadBoxes) as error:
                if not str(error).strip():
                    raise ValueError("an empty message") from error

        atheris.Setup(sys.argv, read_bytes)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
