"""Convert the Keras weights that MesoNet's authors published."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.network import Network
from explain_deepfakes.pipeline.errors import UserError

Arrays = list[np.ndarray]


def read_keras_layers(path: Path) -> dict[str, list[Arrays]]:
    """The arrays of each kind of layer (conv2d, batch_normalization, dense), in the order in which the layers were created."""
    import h5py  # only needed to import such a file

    numbered: dict[str, list[tuple[int, Arrays]]] = {}
    try:
        with h5py.File(path) as file:
            for layer in (file[decode_name(name)] for name in file.attrs["layer_names"]):
                arrays = [np.asarray(layer[decode_name(name)]) for name in layer.attrs["weight_names"]]
                if arrays:
                    kind, _, number = layer.name.strip("/").rpartition("_")
                    numbered.setdefault(kind, []).append((int(number), arrays))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read as weights saved by Keras: {str(error).splitlines()[0]}") from error
    return {kind: [arrays for _, arrays in sorted(layers, key=lambda layer: layer[0])] for kind, layers in numbered.items()}


def decode_name(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def load_mesonet(network: Network, path: Path) -> None:
    """Load the published weights; the last layer is negated, because the published network outputs how real a face is."""
    layers = read_keras_layers(path)
    height, width = network.grid
    for kind, of_kind in (("conv2d", nn.Conv2d), ("batch_normalization", nn.BatchNorm2d), ("dense", nn.Linear)):
        ours = [module for module in network.modules() if isinstance(module, of_kind)]
        theirs = layers.get(kind, [])
        if len(ours) != len(theirs):
            raise UserError(f"{path} has {len(theirs)} {kind} layers, but the network of --config has {len(ours)}")
        for number, (module, arrays) in enumerate(zip(ours, theirs, strict=True)):
            weight, *rest = (torch.tensor(array) for array in arrays)
            if kind == "conv2d":
                weight = weight.permute(3, 2, 0, 1)
            elif kind == "dense" and number == 0:  # Keras flattens patches before channels
                weight = weight.view(height, width, -1, weight.shape[-1]).permute(3, 2, 0, 1).flatten(1)
            elif kind == "dense":
                weight, rest = -weight.T, [-array for array in rest]
            copy_arrays(module, [weight, *rest], path)


def copy_arrays(module: nn.Module, arrays: list[Tensor], path: Path) -> None:
    """Copy weight, bias and, for a batch norm, its statistics."""
    names = ("weight", "bias", "running_mean", "running_var")[: len(arrays)]
    targets: list[Tensor] = [getattr(module, name) for name in names]
    for target, array in zip(targets, arrays, strict=True):
        if target.shape != array.shape:
            raise UserError(
                f"{path} does not fit the network of --config: an array has shape {tuple(array.shape)} instead of "
                f"{tuple(target.shape)}"
            )
        target.data.copy_(array)
