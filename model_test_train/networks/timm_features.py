"""Any network of timm as a backbone: `timm/<name>`."""

from functools import partial
from typing import cast

from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.batch_norm import fold_batch_norms
from explain_deepfakes.model_test_train.networks.noise_residual import input_channels, with_noise_residual
from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained
from explain_deepfakes.model_test_train.networks.registry import backbone
from explain_deepfakes.model_test_train.networks.transformer import TokenReadout
from explain_deepfakes.pipeline.errors import UserError


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


def source(model: str, net: nn.Module) -> Source:
    card = cast(dict[str, str | None], net.pretrained_cfg)
    page = f"https://huggingface.co/{card['hf_hub_id']}" if card.get("hf_hub_id") else card.get("url") or "its authors"
    return Source(f"timm/{model}", page, partial(download, model))


def download(model: str) -> Weights:
    import timm  # slow, see TimmFeatures

    return timm.create_model(model, pretrained=True, num_classes=0).state_dict()
