"""Export a checkpoint's network to ONNX, for programs without PyTorch.

    python serving/onnx_export.py [--model_path CHECKPOINT] [--output MODEL.onnx]

Input: `pictures` (n, size, size, 3), uint8, RGB: face crops resized to the network's input size. Output: `fake_probability`
(n,). The checkpoint card is stored as metadata. The file is written only if its outputs equal those of PyTorch.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
from explain_deepfakes.pipeline.errors import UserError, run
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_bytes
from explain_deepfakes.pipeline.params import flag_spellings
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.serving.models.onnx_backend import TOLERANCE, export_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a trained network to ONNX.")
    parser.add_argument(
        *flag_spellings("model_path"), type=Path, default=from_root("data/models/best.safetensors"), help="checkpoint to export"
    )
    parser.add_argument("--output", type=Path, help="ONNX file to write (default: beside the checkpoint)")
    args = parser.parse_args()
    predictor = load_predictor(args.model_path, torch.device("cpu"))
    if predictor.ensemble:
        raise UserError(f"{args.model_path} is an ensemble; export each of its members instead")
    ((name, network),) = predictor.networks.items()
    warning = predictor.card.warning
    card = {**asdict(predictor.card), "warning": warning, "checkpoint_sha256": content_hash(args.model_path)}
    output = args.output or args.model_path.with_suffix(".onnx")
    write_bytes(output, export_onnx(name, network, {"card": json.dumps(card)}))
    print(f"wrote {output}; its outputs equal those of {name} within {TOLERANCE:g}")
    if warning:
        print(warning)


if __name__ == "__main__":
    run(main)
