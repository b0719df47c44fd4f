"""A network: its YAML -> backbone and detector in one module, prepared pixels -> logits."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model_test_train.inputs import InputContract
from model_test_train.networks.backbones import Backbone, build_backbone
from model_test_train.networks.detectors import Detector, build_detector
from pipeline.errors import UserError
from pipeline.params import build, read_yaml

SECTIONS = ("backbone", "detector", "input", "augmentation", "training")


class Network(nn.Module):
    """Pixels that `input` prepared (b, 3, size, size) -> a logit each (b,); positive means fake."""

    def __init__(self, backbone: Backbone, detector: Detector, input: InputContract) -> None:
        super().__init__()
        self.backbone = backbone
        self.detector = detector
        self.input = input

    def forward(self, pixels: Tensor) -> Tensor:
        return self.detector(self.backbone(pixels))

    def judge_places(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logits, and of every place (b, h, w) logit and weight, of a network whose detector has places."""
        return self.detector.judge_places(self.backbone(pixels))


def build_network(description: dict[str, Any]) -> Network:
    """What a network's YAML describes -> the network with fresh weights (or those its `pretrained` names)."""
    contract = build(InputContract, description["input"], "input")
    backbone = _build_part("backbone", description, build_backbone)
    side = contract.size // backbone.stride
    detector = _build_part("detector", description, build_detector, channels=backbone.channels, grid=(side, side))
    return Network(backbone, detector, contract)


def read_description(path: Path) -> dict[str, Any]:
    """A network's YAML, with its sections checked to be there."""
    description = read_yaml(path)
    for section in SECTIONS:
        if not isinstance(description.get(section), dict):
            raise UserError(f"{path}: section '{section}' is missing")
    return {section: description[section] for section in SECTIONS}


def _build_part(part: str, description: dict[str, Any], builder: Any, **given: Any) -> Any:
    options = dict(description[part])
    if "name" not in options:
        raise UserError(f"{part}.name is missing")
    try:
        return builder(options.pop("name"), **given, **options)
    except TypeError as error:  # an option that the part does not take, or one it lacks
        raise UserError(f"{part}: {str(error).split('() ')[-1]}") from error
