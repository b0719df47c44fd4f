"""Network: a backbone and a head in one module, built from a network's YAML; prepared pixels -> logits."""

import re
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.input_contract import InputContract
from explain_deepfakes.model_test_train.networks.pretrained import Pretrained
from explain_deepfakes.model_test_train.networks.registry import BACKBONES, HEADS, YamlSection, build_module
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import build_settings, read_yaml

Description = dict[str, YamlSection]  # a network's YAML, by section
SECTIONS = ("backbone", "detector", "input", "augmentation", "training")
PUBLISHED = "published"  # a further section, of published detectors; see catalogue.py
RENAMED_OPTIONS = {("detector", "of_places"): "patch_head", ("training", "gaze_weight"): "attention_loss_weight"}
RENAMED_HEADS = {"place_transformer": "patch_transformer"}


class PatchHead(Protocol):
    """A head that also classifies each patch of the feature map."""

    def forward_patches(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class Network(nn.Module):
    """Pixels prepared by `input` (b, 3, size, size) -> a logit per picture (b,); positive means fake."""

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        input: InputContract,
        grid: tuple[int, int],
        to_patch_logit: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.input = input
        self.grid = grid  # (h, w) of the backbone's feature map
        self.to_patch_logit = to_patch_logit  # classifies each patch of the backbone's feature map, independently of the head

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.backbone(pixels))

    @property
    def patch_grid(self) -> tuple[int, int] | None:
        """(h, w) of the patches that training can classify as manipulated or not; None if there are no such patches."""
        patch_grid: tuple[int, int] | None = getattr(self.head, "patch_grid", None)
        return patch_grid or (self.grid if self.to_patch_logit else None)

    def forward_patches(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits (b,), patch logits (b, h, w), and the class-token attention (b, h, w) if the head has any."""
        features = self.backbone(pixels)
        if self.to_patch_logit:
            return self.head(features), self.to_patch_logit(features).squeeze(1), None
        return cast(PatchHead, self.head).forward_patches(features)

    @property
    def aux_output_names(self) -> tuple[str, ...]:
        """Names of the values that the head reports for a picture in addition to its logit."""
        names: tuple[str, ...] = getattr(self.head, "aux_output_names", ())
        return names

    def forward_with_aux(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b,) and auxiliary outputs (b, len(aux_output_names))."""
        features = self.backbone(pixels)
        logits, aux_outputs = self.head(features), getattr(self.head, "aux_outputs", None)
        return logits, aux_outputs(features) if aux_outputs else logits.new_zeros(len(logits), 0)

    def train(self, mode: bool = True) -> "Network":
        """Modules whose weights are all frozen stay in eval mode: they keep their statistics and apply no dropout."""
        super().train(mode)
        if mode:
            _set_frozen_to_eval(self)
        return self


def _set_frozen_to_eval(module: nn.Module) -> None:
    weights = list(module.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        module.eval()
        return
    for submodule in module.children():
        _set_frozen_to_eval(submodule)


def build_network(description: Description) -> Network:
    """Build the network that a YAML describes, with random weights or those named by its `pretrained`."""
    network = empty_network(description, description["backbone"].get("pretrained"))
    if bind_backbone := getattr(network.head, "bind_backbone", None):
        bind_backbone(network.backbone)
    return network


def empty_network(description: Description, pretrained: Pretrained | None = False) -> Network:
    """Build the same network without pretrained weights, to load a checkpoint's weights into."""
    if missing := [section for section in ("input", "backbone", "detector") if section not in description]:
        raise UserError(f"the description of the network has no section '{missing[0]}'")
    contract = build_settings(InputContract, description["input"], "input")
    section = dict(description["backbone"])
    if "pretrained" in section:
        section["pretrained"] = pretrained
    backbone = build_module(BACKBONES, "backbone", section, contract.size)
    channels, *grid = _feature_map_shape(backbone, contract.size)
    section = dict(description["detector"])
    to_patch_logit = nn.Conv2d(channels, 1, 1) if section.pop("patch_head", False) else None
    head = build_module(HEADS, "detector", section, channels, tuple(grid))
    return Network(backbone, head, contract, (grid[0], grid[1]), to_patch_logit)


@torch.no_grad()
def _feature_map_shape(backbone: nn.Module, size: int) -> tuple[int, ...]:
    """Channels, height and width."""
    return tuple(backbone.eval()(torch.zeros(1, 3, size, size)).shape[1:])


def read_description(path: Path) -> Description:
    """Read a network's YAML, merged into the file that it `extends`, and check that every section is present."""
    description = read_extended(path)
    for section in SECTIONS:
        if not isinstance(description.get(section), dict):
            raise UserError(f"{path}: section '{section}' is missing")
    return {section: description[section] for section in SECTIONS}


def with_current_names(description: Description) -> Description:
    """The description with the current names of options, heads and weight patterns that were renamed since it was written."""
    current = {name: dict(section) if isinstance(section, dict) else section for name, section in description.items()}
    for (section, old), new in RENAMED_OPTIONS.items():
        if isinstance(options := current.get(section), dict) and old in options:
            options[new] = options.pop(old)
    if isinstance(training := current.get("training"), dict) and isinstance(training.get("phases"), list):
        training["phases"] = [_with_current_patterns(phase) for phase in training["phases"]]
    if isinstance(head := current.get("detector"), dict) and (name := RENAMED_HEADS.get(str(head.get("name")))):
        head["name"] = name
    return current


def _with_current_patterns(phase: object) -> object:
    """A training phase (not validated yet) in which weight patterns that begin with 'detector' begin with 'head'."""
    if not isinstance(phase, dict) or not isinstance(patterns := phase.get("learns"), list):
        return phase
    return {**phase, "learns": [re.sub("^detector[.]", "head.", str(pattern)) for pattern in patterns]}


def read_extended(path: Path) -> Description:
    """Read all sections of a YAML, merged into those of the files that it `extends`; its own options take precedence."""
    merged: Description = {}
    for description in _extended_files(path).values():
        _merge_sections(merged, description)
    return merged


def _extended_files(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[Path, Description]:
    """The sections of a YAML and of all files that it extends. Each file is listed once, before those that extend it."""
    resolved = path.resolve()
    if resolved in extended_by:
        raise UserError(f"{path} extends itself")
    description = with_current_names(read_yaml(path))
    extends: Any = description.pop("extends", None) or []
    files: dict[Path, Description] = {}
    for base in extends if isinstance(extends, list) else [extends]:
        files |= _extended_files(path.parent / str(base), (*extended_by, resolved))
    return files | {resolved: description}


def _merge_sections(base: Description, changes: Description) -> None:
    for name, section in changes.items():
        base[name] = _merge(base.get(name), section, levels=3 if name == PUBLISHED else 1)


def _merge(base: object, changes: object, levels: int) -> Any:
    """Replace the options of a section, or those of the mappings in it."""
    if not levels or not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{name: _merge(base.get(name), value, levels - 1) for name, value in changes.items()}}
