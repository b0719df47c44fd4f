"""A network: its YAML -> backbone and detector in one module, prepared pixels -> logits."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model_test_train.networks.input_contract import InputContract
from model_test_train.networks.registry import BACKBONES, HEADS, build_part
from pipeline.errors import UserError
from pipeline.params import build, read_yaml

SECTIONS = ("backbone", "detector", "input", "augmentation", "training")
RENAMED_OPTIONS = {("detector", "of_places"): "patch_head", ("training", "gaze_weight"): "attention_loss_weight"}
RENAMED_HEADS = {"place_transformer": "patch_transformer"}


class Network(nn.Module):
    """Pixels that `input` prepared (b, 3, size, size) -> a logit each (b,); positive means fake."""

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
        self.to_patch_logit = to_patch_logit  # asks the backbone about each place, whatever the detector makes of them

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.backbone(pixels))

    @property
    def places(self) -> tuple[int, int] | None:
        """(h, w) of the places that training can ask about: was this one changed?"""
        places: Any = getattr(self.head, "places", None)
        return places or (self.grid if self.to_patch_logit else None)

    def forward_patches(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The logits (b,), of every place (b, h, w) a logit, and its weight if the detector has one for each."""
        features = self.backbone(pixels)
        if self.to_patch_logit:
            return self.head(features), self.to_patch_logit(features).squeeze(1), None
        judge: Any = self.head.forward_patches
        return judge(features)

    @property
    def told(self) -> tuple[str, ...]:
        """What the detector can tell of a picture beside its logit."""
        told: Any = getattr(self.head, "told", ())
        return told

    def tell(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (b,), and what else there is to tell (b, told)."""
        features = self.backbone(pixels)
        logits, tell = self.head(features), getattr(self.head, "tell", None)
        return logits, tell(features) if tell else logits.new_zeros(len(logits), 0)

    def train(self, mode: bool = True) -> "Network":
        """Whatever has weights of which none learns keeps its statistics, and drops nothing."""
        super().train(mode)
        if mode:
            _rest(self)
        return self


def _rest(module: nn.Module) -> None:
    weights = list(module.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        module.eval()
        return
    for part in module.children():
        _rest(part)


def build_network(description: dict[str, Any]) -> Network:
    """What a network's YAML describes -> the network with fresh weights (or those its `pretrained` names)."""
    network = empty_network(description, description["backbone"].get("pretrained"))
    if meet := getattr(network.head, "meet", None):
        meet(network.backbone)
    return network


def empty_network(description: dict[str, Any], pretrained: Any = False) -> Network:
    """The same network, to be filled with a checkpoint's weights."""
    contract = build(InputContract, description["input"], "input")
    section = dict(description["backbone"])
    if "pretrained" in section:
        section["pretrained"] = pretrained
    backbone = build_part(BACKBONES, "backbone", section, contract.size)
    channels, *grid = _shape(backbone, contract.size)
    section = dict(description["detector"])
    to_patch_logit = nn.Conv2d(channels, 1, 1) if section.pop("patch_head", False) else None
    head = build_part(HEADS, "detector", section, channels, tuple(grid))
    return Network(backbone, head, contract, (grid[0], grid[1]), to_patch_logit)


@torch.no_grad()
def _shape(backbone: nn.Module, size: int) -> tuple[int, ...]:
    """Channels, height and width of its feature map."""
    return tuple(backbone.eval()(torch.zeros(1, 3, size, size)).shape[1:])


def read_description(path: Path) -> dict[str, Any]:
    """A network's YAML, put over the one that it `extends`, with its sections checked to be there."""
    description = _extended(path, ())
    for section in SECTIONS:
        if not isinstance(description.get(section), dict):
            raise UserError(f"{path}: section '{section}' is missing")
    return {section: description[section] for section in SECTIONS}


def with_current_names(description: dict[str, Any]) -> dict[str, Any]:
    """A description whose options or head were renamed since it was written, under the names of today."""
    current = {name: dict(section) if isinstance(section, dict) else section for name, section in description.items()}
    for (section, old), new in RENAMED_OPTIONS.items():
        if isinstance(options := current.get(section), dict) and old in options:
            options[new] = options.pop(old)
    if isinstance(head := current.get("detector"), dict) and head.get("name") in RENAMED_HEADS:
        head["name"] = RENAMED_HEADS[head["name"]]
    return current


def _extended(path: Path, coming_from: tuple[Path, ...]) -> dict[str, Any]:
    """Section by section, line by line."""
    if path.resolve() in coming_from:
        raise UserError(f"{path} extends itself")
    description = with_current_names(read_yaml(path))
    if not (extends := description.pop("extends", None)):
        return description
    base = _extended(path.parent / str(extends), (*coming_from, path.resolve()))
    for name, section in description.items():
        both_mappings = isinstance(section, dict) and isinstance(base.get(name), dict)
        base[name] = {**base[name], **section} if both_mappings else section
    return base
