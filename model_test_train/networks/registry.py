"""Registry of networks: each module of this package registers its backbones and heads under the names that YAML files use."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from torch import nn

from explain_deepfakes.model_test_train import networks
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import converted

YamlSection = dict[str, Any]  # one section of a network's YAML; its values are checked by whatever the section configures
SIMPLE_TYPES = (bool, int, float, str)
Builder = Callable[..., nn.Module]
BACKBONES: dict[str, Builder] = {}
HEADS: dict[str, Builder] = {}


def backbone(name: str) -> Callable[[Builder], Builder]:
    """Register a backbone: prepared pixels (b, 3, size, size) -> a feature map (b, channels, h, w).

    Its builder receives the size and the section's other options. A name that ends in `/` registers a family: the text after
    the slash becomes the builder's first argument.
    """
    return _register_in(BACKBONES, name)


def head(name: str) -> Callable[[Builder], Builder]:
    """Register a head: a feature map -> a logit per picture (b,).

    Its builder receives the feature map's channels and (h, w), and the section's other options.
    """
    return _register_in(HEADS, name)


def _register_in(registry: dict[str, Builder], name: str) -> Callable[[Builder], Builder]:
    def register(builder: Builder) -> Builder:
        registry[name] = builder
        return builder

    return register


def find_builder(registry: dict[str, Builder], kind: str, name: str) -> tuple[Builder, tuple[str, ...]]:
    """The builder registered for a name, and the arguments that the name itself contains."""
    for module in pkgutil.iter_modules(networks.__path__):
        importlib.import_module(f"{networks.__name__}.{module.name}")
    if name in registry:
        return registry[name], ()
    family, slash, member = name.partition("/")
    key = family + slash
    if key not in registry:
        known = ", ".join(f"{entry}<name>" if entry.endswith("/") else entry for entry in sorted(registry))
        raise UserError(f"{kind} '{name}' is unknown; choose one of: {known}")
    return registry[key], (member,)


def build_module(registry: dict[str, Builder], kind: str, section: YamlSection, *arguments: object) -> nn.Module:
    """Build the backbone or head that a section of a network's YAML describes."""
    options = dict(section)
    if not isinstance(name := options.pop("name", None), str):
        raise UserError(f"{kind}.name is missing")
    builder, member = find_builder(registry, kind, name)
    signature = inspect.signature(builder, eval_str=True)
    try:  # check the options before the call, because a TypeError inside the builder would be a bug of ours
        signature.bind(*member, *arguments, **options)
    except TypeError as error:  # an unknown or missing option
        raise UserError(f"{kind}: {error}") from error
    for option, value in options.items():
        parameter = signature.parameters.get(option)
        if parameter and parameter.annotation in SIMPLE_TYPES:
            options[option] = converted(value, parameter.annotation, f"{kind}.{option}")
    try:
        return builder(*member, *arguments, **options)
    except (ValueError, RuntimeError, ArithmeticError) as error:  # such as a negative size
        raise UserError(f"{kind} {name!r} cannot be built from these options: {error}") from error
