"""A detector's networks run by ONNX Runtime, and a network as ONNX."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from model_test_train.evaluation.predictor import Predictor
from model_test_train.networks.network import Network
from model_test_train.networks.scoring import fake_probabilities
from pipeline.errors import UserError

TOLERANCE = 1e-4  # of probabilities
BATCHES = (1, 3)  # that are tried
Runner = Callable[[torch.Tensor], np.ndarray]


class ExportWrapper(nn.Module):
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
            exported = torch.export.export(
                ExportWrapper(network).eval(), example, dynamic_shapes=({0: torch.export.Dim("n", min=1)},)
            )
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


def by_onnxruntime(judge: Predictor) -> Predictor:
    """The same, judging by onnxruntime; maps are still PyTorch's, which knows what attention was paid to."""
    threads = torch.get_num_threads()
    runners = {name: runner(as_onnx(name, network, {}), threads) for name, network in judge.networks.items()}
    return replace(judge, runners=runners)
