"""Export a checkpoint's network to ONNX, with its checkpoint card."""

import json
from argparse import Namespace
from dataclasses import asdict

import torch

from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_bytes
from explain_deepfakes.serving.models.onnx_backend import TOLERANCE, export_onnx


def export_checkpoint(args: Namespace) -> None:
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
