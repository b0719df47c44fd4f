"""The shelf of networks: each file of this folder puts its backbones and detectors on it, under the names that YAMLs use."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from torch import nn

from model_test_train import networks
from pipeline.errors import UserError

Builder = Callable[..., nn.Module]
BACKBONES: dict[str, Builder] = {}
HEADS: dict[str, Builder] = {}


def backbone(name: str) -> Callable[[Builder], Builder]:
    """Prepared pixels (b, 3, size, size) -> a feature map (b, channels, h, w); built from size and the section's further lines.

    A name that ends in `/` is of a family: what follows it comes first among the arguments.
    """
    return _registered(BACKBONES, name)


def head(name: str) -> Callable[[Builder], Builder]:
    """A feature map -> a logit each (b,); built from its channels, its (h, w) and the section's further lines."""
    return _registered(HEADS, name)


def _registered(registry: dict[str, Builder], name: str) -> Callable[[Builder], Builder]:
    def put(builder: Builder) -> Builder:
        registry[name] = builder
        return builder

    return put


def find(registry: dict[str, Builder], kind: str, name: str) -> tuple[Builder, tuple[str, ...]]:
    """Who builds what has that name, and what of the name it is told."""
    for module in pkgutil.iter_modules(networks.__path__):
        importlib.import_module(f"{networks.__name__}.{module.name}")
    family, slash, member = name.partition("/")
    key = family + slash
    if key not in registry:
        known = ", ".join(f"{one}<name>" if one.endswith("/") else one for one in sorted(registry))
        raise UserError(f"{kind} '{name}' is unknown; there are: {known}")
    return registry[key], (member,) if slash else ()


def build_part(registry: dict[str, Builder], kind: str, section: dict[str, Any], *given: Any) -> nn.Module:
    """What a section of a network's YAML describes."""
    options = dict(section)
    if not isinstance(name := options.pop("name", None), str):
        raise UserError(f"{kind}.name is missing")
    builder, member = find(registry, kind, name)
    try:  # to match the options before the call: a TypeError inside the part is a mistake of ours
        inspect.signature(builder).bind(*member, *given, **options)
    except TypeError as error:  # an option that the part does not take, or one it lacks
        raise UserError(f"{kind}: {error}") from error
    return builder(*member, *given, **options)
