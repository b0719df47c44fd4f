"""Map the tensors of a published file to the weights of a network of this project.

The map is part of a detector's YAML. It states what is discarded, so that a tensor that nobody expected is an error.
`docs/detectors.md` lists how exactly the logits of each detector were compared with the published ones.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.pretrained import Weights
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import setting

LOW_RANK_FACTORS = {  # names of the frozen weight and of the factors that are added to it, as suffixes of a layer's name
    "svd": ("weight_main", ("U_residual", "S_residual", "V_residual")),
    "lora": ("weight", ("lora_B", "lora_A")),
}


@dataclass(frozen=True)
class KeyMap:
    """All patterns are regular expressions for the whole name of a tensor. They are applied in the order of the fields."""

    discard: tuple[str, ...] = setting("tensors that the verdict does not depend on")
    merge: tuple[str, ...] = setting("low-rank updates that are added to the weights they belong to: svd, lora")
    rename: dict[str, str] = setting("patterns and replacements; the first that matches a name is applied")
    join: dict[str, tuple[str, ...]] = setting("layers of this network, and the published layers that each of them consists of")
    copy: dict[str, str] = setting("weights of this network that are copies of others of it")
    zero: tuple[str, ...] = setting(
        "weights of this network that the published network lacks, and that have no effect as zeros"
    )
    keep: tuple[str, ...] = setting("weights of this network that come from its pretrained backbone")
    fake_logit: int | None = setting("if the head has two logits, the one for fake; null: it has one")
    lora_scale: float = setting("factor of the product of the LoRA matrices")


def map_keys(weights: Weights, key_map: KeyMap, network: nn.Module, origin: str) -> Weights:
    """Return the weights under the names and with the shapes that the network has. Error messages call them `origin`."""
    kept = {name: tensor for name, tensor in weights.items() if not _matches(key_map.discard, name)}
    for kind in key_map.merge:
        kept = _merge(kept, kind, key_map.lora_scale, origin)
    renamed = _rename(kept, key_map.rename, origin)
    for layer, parts in key_map.join.items():
        renamed = _join(renamed, layer, parts)
    expected = network.state_dict()
    if key_map.fake_logit is not None:
        renamed = {name: _fold(value, expected.get(name), key_map.fake_logit) for name, value in renamed.items()}
    complete = {**_added(expected, renamed, key_map), **renamed}
    return {name: _with_shape(value, expected.get(name)) for name, value in complete.items()}


def _added(expected: Weights, weights: Weights, key_map: KeyMap) -> Weights:
    """The weights of the network that follow from others or are zero."""
    sources = {name: _first_replacement(key_map.copy, name) for name in expected}
    copies = {name: weights[source] for name, source in sources.items() if source != name and source in weights}
    kept = {name: expected[name] for name in expected if _matches(key_map.keep, name)}
    return copies | kept | {name: torch.zeros_like(expected[name]) for name in expected if _matches(key_map.zero, name)}


def load_strictly(network: nn.Module, weights: Weights, origin: str) -> None:
    """Load the weights if they are exactly those of the network; otherwise change nothing."""
    expected = network.state_dict()
    buffers = {name for name in expected if name.endswith("num_batches_tracked")}  # missing in files of older frameworks
    missing, unexpected = expected.keys() - weights.keys() - buffers, weights.keys() - expected.keys()
    misshapen = [name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape]
    if missing or unexpected or misshapen:
        raise UserError(f"{origin} does not fit the network: {_describe(expected, weights, missing, unexpected, misshapen)}")
    network.load_state_dict({**{name: expected[name] for name in buffers}, **weights})


def _describe(expected: Weights, weights: Weights, missing: set[str], unexpected: set[str], misshapen: list[str]) -> str:
    if missing:
        return f"{len(missing)} of its {len(expected)} tensors are missing, for example {min(missing)}"
    if unexpected:
        return f"{len(unexpected)} tensors are unknown, for example {min(unexpected)}"
    name = min(misshapen)
    shapes = tuple(weights[name].shape), tuple(expected[name].shape)
    return f"{name} has the shape {shapes[0]} instead of {shapes[1]}"


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _rename(weights: Weights, patterns: dict[str, str], origin: str) -> Weights:
    renamed: Weights = {}
    for name, value in weights.items():
        new = _first_replacement(patterns, name)
        if new in renamed:
            raise UserError(f"{origin} has two tensors for {new}; `rename` and `discard` in the YAML do not describe this file")
        renamed[new] = value
    return renamed


def _first_replacement(patterns: dict[str, str], name: str) -> str:
    for pattern, replacement in patterns.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return name


def _merge(weights: Weights, kind: str, lora_scale: float, origin: str) -> Weights:
    """Replace each weight and its low-rank factors by their sum, computed in double precision."""
    main, factors = LOW_RANK_FACTORS[kind]
    merged = dict(weights)
    for layer in [name.removesuffix(f".{factors[0]}") for name in weights if name.endswith(f".{factors[0]}")]:
        try:
            frozen, left, *middle, right = (merged.pop(f"{layer}.{name}").double() for name in (main, *factors))
        except KeyError as error:
            raise UserError(f"{origin} lacks {error.args[0]}, one of the low-rank factors ({kind}) of {layer}") from error
        scale = middle[0] if middle else lora_scale  # the singular values, or a number
        merged[f"{layer}.weight"] = (frozen + (left * scale) @ right).float()
    return merged


def _join(weights: Weights, layer: str, parts: tuple[str, ...]) -> Weights:
    """Stack the weights of several layers with a common parent, such as queries, keys and values. A missing bias is zero."""
    joined = dict(weights)
    for name in weights:
        *parent, part, kind = name.split(".")
        if part != parts[0]:
            continue
        rows = [joined.pop(".".join((*parent, each, kind)), None) for each in parts]
        joined[".".join((*parent, layer, kind))] = torch.cat(
            [torch.zeros_like(weights[name]) if row is None else row for row in rows]
        )
    return joined


def _fold(value: Tensor, expected: Tensor | None, fake: int) -> Tensor:
    """The softmax of two logits is the sigmoid of their difference, so one row does for both."""
    if expected is None or value.shape[:1] != (2,) or expected.shape[:1] != (1,):
        return value
    return value[fake : fake + 1] - value[1 - fake : 2 - fake]


def _with_shape(value: Tensor, expected: Tensor | None) -> Tensor:
    """Frameworks differ in axes of length one, as in a class token."""
    if expected is None or [side for side in value.shape if side > 1] != [side for side in expected.shape if side > 1]:
        return value
    return value.reshape(expected.shape)
