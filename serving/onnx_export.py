"""A judge's network as ONNX, for programs without PyTorch, and for onnxruntime as the server's backend.

    python serving/onnx_export.py [--model_path CHECKPOINT] [--output MODEL.onnx]

It takes faces as they were cut out, made as large as the network sees them: `pictures` (n, size, size, 3), uint8, RGB; and
gives `fake_probability` (n,). What the card says goes along as metadata. It is written only if it says what PyTorch says.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from model_test_train.judge import Judge, load_judge
from model_test_train.judging import fake_probabilities
from model_test_train.networks.network import Network
from pipeline.errors import UserError, run
from pipeline.ledger import content_hash
from pipeline.outputs import write_bytes
from pipeline.params import spellings
from pipeline.project import from_root

TOLERANCE = 1e-4  # of probabilities
BATCHES = (1, 3)  # that are tried
Runner = Callable[[torch.Tensor], np.ndarray]


class Whole(nn.Module):
    """Pictures as they are stored -> probabilities."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.network(self.network.input.normalise(pictures)).float().sigmoid()


def as_onnx(name: str, network: Network, facts: dict[str, str]) -> bytes:
    """Refused where PyTorch cannot write it, or where it would say something else."""
    size = network.input.size
    example = (torch.zeros((2, size, size, 3), dtype=torch.uint8),)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(Whole(network).eval(), example, dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
            program = torch.onnx.export(
                exported, input_names=["pictures"], output_names=["fake_probability"], external_data=False, verbose=False
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise UserError(f"{name} cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    assert program is not None
    program.model.metadata_props.update(facts)
    content: bytes = program.model_proto.SerializeToString()
    refuse_unlike(name, network, runner(content, 1))
    return content


def refuse_unlike(name: str, network: Network, onnx: Runner) -> None:
    for count in BATCHES:
        noise = np.random.default_rng(count).integers(0, 256, (count, network.input.size, network.input.size, 3), np.uint8)
        pictures = torch.from_numpy(noise)
        apart = np.abs(onnx(pictures) - fake_probabilities(network, [pictures])).max()
        if not apart <= TOLERANCE:
            raise UserError(f"{name} as ONNX says something else than it: {apart:.2g} of a probability")


def runner(content: bytes, threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=onnxruntime.get_available_providers())

    def probabilities(pictures: torch.Tensor) -> np.ndarray:
        found: np.ndarray = session.run(None, {"pictures": pictures.numpy()})[0]
        return found.astype(np.float64)

    return probabilities


def by_onnxruntime(judge: Judge) -> Judge:
    """The same, judging by onnxruntime; maps are still PyTorch's, which knows what attention was paid to."""
    threads = torch.get_num_threads()
    runners = {name: runner(as_onnx(name, network, {}), threads) for name, network in judge.networks.items()}
    return replace(judge, runners=runners)


def main() -> None:
    parser = argparse.ArgumentParser(description="A trained network as ONNX.")
    parser.add_argument(
        *spellings("model_path"), type=Path, default=from_root("data/models/best.safetensors"), help="the checkpoint"
    )
    parser.add_argument("--output", type=Path, help="default: beside the checkpoint")
    given = parser.parse_args()
    judge = load_judge(given.model_path, torch.device("cpu"))
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
