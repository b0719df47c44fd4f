"""The weights that MesoNet's authors published, Keras files -> ours."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model_test_train.networks.network import Network
from pipeline.errors import UserError

Arrays = list[np.ndarray]


def read_keras(path: Path) -> dict[str, list[Arrays]]:
    """Of each kind of layer (conv2d, batch_normalization, dense) the arrays, in the order in which the layers were made."""
    import h5py  # which who imports no such file need not have

    found: dict[str, list[tuple[int, Arrays]]] = {}
    try:
        with h5py.File(path) as file:
            for layer in (file[text(name)] for name in file.attrs["layer_names"]):
                arrays = [np.asarray(layer[text(name)]) for name in layer.attrs["weight_names"]]
                if arrays:
                    kind, _, number = layer.name.strip("/").rpartition("_")
                    found.setdefault(kind, []).append((int(number), arrays))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read as weights that Keras saved: {str(error).splitlines()[0]}") from error
    return {kind: [arrays for _, arrays in sorted(layers, key=lambda layer: layer[0])] for kind, layers in found.items()}


def text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def load_mesonet(network: Network, path: Path) -> None:
    """Puts them in. The published network says how real a face is, ours how fake: its last layer is turned."""
    layers = read_keras(path)
    height, width = network.grid
    for kind, of_kind in (("conv2d", nn.Conv2d), ("batch_normalization", nn.BatchNorm2d), ("dense", nn.Linear)):
        ours = [module for module in network.modules() if isinstance(module, of_kind)]
        theirs = layers.get(kind, [])
        if len(ours) != len(theirs):
            raise UserError(f"{path} has {len(theirs)} layers {kind}, the network that --config describes {len(ours)}")
        for number, (module, arrays) in enumerate(zip(ours, theirs, strict=True)):
            first, *others = (torch.tensor(array) for array in arrays)
            if kind == "conv2d":
                first = first.permute(3, 2, 0, 1)
            elif kind == "dense" and number == 0:  # places come before channels there
                first = first.view(height, width, -1, first.shape[-1]).permute(3, 2, 0, 1).flatten(1)
            elif kind == "dense":
                first, others = -first.T, [-other for other in others]
            put(module, [first, *others], path)


def put(module: nn.Module, arrays: list[Tensor], path: Path) -> None:
    """Weight and bias, and of a batch norm its statistics."""
    names = ("weight", "bias", "running_mean", "running_var")[: len(arrays)]
    places: list[Tensor] = [getattr(module, name) for name in names]
    for place, array in zip(places, arrays, strict=True):
        if place.shape != array.shape:
            raise UserError(
                f"{path} does not fit the network that --config describes: {tuple(array.shape)} for {tuple(place.shape)}"
            )
        place.data.copy_(array)
