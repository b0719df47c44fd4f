"""ONNX: export a network, and run a detector's networks with ONNX Runtime."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from explain_deepfakes.model_test_train.evaluation.predictor import Predictor
from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.model_test_train.networks.scoring import fake_probabilities
from explain_deepfakes.pipeline.errors import UserError

TOLERANCE = 1e-4  # of probabilities
CHECKED_BATCH_SIZES = (1, 3)
Runner = Callable[[torch.Tensor], np.ndarray]


class ExportWrapper(nn.Module):
    """Stored pictures (n, size, size, 3) uint8 -> fake probabilities (n,)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.network(self.network.input.normalise(pictures)).float().sigmoid()


def export_onnx(name: str, network: Network, metadata: dict[str, str]) -> bytes:
    """The network as an ONNX file; an error if PyTorch cannot export it or its outputs differ."""
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
        raise UserError(f"{name} cannot be exported to ONNX: {str(error).splitlines()[0]}") from error
    assert program is not None
    program.model.metadata_props.update(metadata)
    content: bytes = program.model_proto.SerializeToString()
    check_same_outputs(name, network, create_runner(content, 1))
    return content


def check_same_outputs(name: str, network: Network, run_onnx: Runner) -> None:
    """Compare the ONNX and PyTorch probabilities of random pictures."""
    for count in CHECKED_BATCH_SIZES:
        noise = np.random.default_rng(count).integers(0, 256, (count, network.input.size, network.input.size, 3), np.uint8)
        pictures = torch.from_numpy(noise)
        difference = np.abs(run_onnx(pictures) - fake_probabilities(network, [pictures])).max()
        if not difference <= TOLERANCE:
            raise UserError(f"the ONNX export of {name} differs from the network: by {difference:.2g} in probability")


def create_runner(content: bytes, threads: int) -> Runner:
    """A function that scores pictures with an ONNX file's content."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=onnxruntime.get_available_providers())

    def probabilities(pictures: torch.Tensor) -> np.ndarray:
        output: np.ndarray = session.run(None, {"pictures": pictures.numpy()})[0]
        return output.astype(np.float64)

    return probabilities


def with_onnxruntime(predictor: Predictor) -> Predictor:
    """The predictor with ONNX Runtime for its scores; heatmaps still need PyTorch, which exposes the attention."""
    threads = torch.get_num_threads()
    runners = {name: create_runner(export_onnx(name, network, {}), threads) for name, network in predictor.networks.items()}
    return replace(predictor, runners=runners)
