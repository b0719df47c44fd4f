"""A judge's network as ONNX, for programs without PyTorch, and for onnxruntime as the server's backend.

    python serving/onnx_export.py [--model_path CHECKPOINT] [--output MODEL.onnx]

It takes faces as they were cut out, made as large as the network sees them: `pictures` (n, size, size, 3), uint8, RGB; and
gives `fake_probability` (n,). What the card says goes along as metadata. It is written only if it says what PyTorch says.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model_test_train.evaluation.predictor import load_predictor
from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.outputs import write_bytes
from pipeline.params import spellings
from pipeline.project import from_root
from serving.models.onnx_backend import TOLERANCE, as_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description="A trained network as ONNX.")
    parser.add_argument(
        *spellings("model_path"), type=Path, default=from_root("data/models/best.safetensors"), help="the checkpoint"
    )
    parser.add_argument("--output", type=Path, help="default: beside the checkpoint")
    given = parser.parse_args()
    judge = load_predictor(given.model_path, torch.device("cpu"))
    if judge.together:
        raise UserError(f"{given.model_path} is an ensemble; export its members, each by itself")
    ((name, network),) = judge.networks.items()
    card: dict[str, Any] = {
        **asdict(judge.card),
        "warning": judge.card.warning,
        "checkpoint_sha256": content_hash(given.model_path),
    }
    output = given.output or given.model_path.with_suffix(".onnx")
    write_bytes(output, as_onnx(name, network, {"card": json.dumps(card)}))
    print(f"{output}: says what {name} says, within {TOLERANCE:g}")
    if judge.card.warning:
        print(judge.card.warning)


if __name__ == "__main__":
    run(main)
