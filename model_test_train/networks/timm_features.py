"""Any network of timm as a backbone: `timm/<name>`."""

from functools import partial
from typing import cast

from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.adapters import AdapterOptions, add_adapters
from explain_deepfakes.model_test_train.networks.batch_norm import fold_batch_norms
from explain_deepfakes.model_test_train.networks.input_features import build_input_features
from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained
from explain_deepfakes.model_test_train.networks.registry import YamlSection, backbone
from explain_deepfakes.model_test_train.networks.transformer import TokenReadout
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import build_settings


@backbone("timm/")
class TimmFeatures(nn.Module):
    """The first stages of a timm network, up to the last feature map of a given stride; later layers are removed.

    Without a stride, the complete network up to its classifier: its last feature map if its mean is classified, else the pooled
    features, as a feature map of a single patch.
    """

    def __init__(
        self,
        model: str,
        size: int,
        pretrained: Pretrained,
        stride: int | None = None,
        residual_gain: float = 0.0,
        input_features: str | None = None,
        last_activation: bool = True,
        fold_batch_norm: bool = False,
        adapter: YamlSection | None = None,
        **options: object,
    ) -> None:
        import timm  # takes a second to import, so other networks do not wait for it

        super().__init__()
        self.input_features = build_input_features(input_features, size, residual_gain)
        if self.input_features:  # some networks have no such option
            options["in_chans"] = self.input_features.channels
        if model.split(".")[0] not in timm.list_models():
            raise UserError(f"backbone 'timm/{model}' is not among the networks of timm {timm.__version__}")
        try:  # timm's networks differ in their options
            self.net = timm.create_model(model, pretrained=False, num_classes=0, **options)
        except TypeError as error:
            raise UserError(f"backbone 'timm/{model}': {error}") from error
        load_pretrained(self.net, pretrained, source(model, self.net))
        self.level = None if stride is None else self._cut_after(stride, model)
        self.classifies_mean = classifies_mean(self.net)
        if not last_activation:
            remove_last_activation(self.net, model)
        if fold_batch_norm:
            fold_batch_norms(self.net)
        if adapter:
            add_adapters(self.net, build_settings(AdapterOptions, adapter, "backbone.adapter"), bool(pretrained))
        if hasattr(self.net, "num_prefix_tokens"):  # a transformer
            self.tokens = token_readout(self.net, is_complete=stride is None)
            self.token_grid = self.net.patch_embed.dynamic_feat_size((size, size))

    def _cut_after(self, stride: int, model: str) -> int:
        """Remove what comes after the last feature map of this stride, and return the map's index."""
        strides = [info["reduction"] for info in self.net.feature_info]
        if stride not in strides:
            raise UserError(f"backbone 'timm/{model}' has no feature map at stride {stride}; it has: {strides}")
        level = len(strides) - 1 - strides[::-1].index(stride)
        self.net.prune_intermediate_layers([level], prune_norm=True, prune_head=True)
        return level

    def forward(self, pixels: Tensor) -> Tensor:
        if self.input_features:
            pixels = self.input_features(pixels)
        if self.level is None:
            return self.net.forward_features(pixels) if self.classifies_mean else self.net(pixels)[:, :, None, None]
        return self.net.forward_intermediates(
            pixels, indices=[self.level], stop_early=True, intermediates_only=True, output_fmt="NCHW"
        )[0]


def token_readout(net: nn.Module, is_complete: bool) -> TokenReadout:
    """How the features are read from the transformer's last tokens."""
    prefix = cast(int, net.num_prefix_tokens)
    is_pooled = is_complete and getattr(net, "attn_pool", None) is not None
    return TokenReadout(prefix, is_pooled or (is_complete and net.global_pool == "token"), is_pooled)


def classifies_mean(net: nn.Module) -> bool:
    """Whether nothing with weights comes between the last feature map's mean and the classifier."""
    pool = getattr(net, "global_pool", None)
    if getattr(pool, "pool_type", None) != "avg":
        return False
    layers = list(net.children())
    return not any(list(layer.parameters()) for layer in layers[layers.index(cast(nn.Module, pool)) :])


def remove_last_activation(net: nn.Module, model: str) -> None:
    """Some published networks add layers before the last activation of the network that they extend."""
    *_, last = (name for name, _ in net.named_children() if name not in ("global_pool", "fc", "head_drop"))
    if not isinstance(net.get_submodule(last), nn.ReLU | nn.SiLU | nn.GELU):
        raise UserError(f"backbone 'timm/{model}' does not end with an activation, so last_activation must be true")
    net.set_submodule(last, nn.Identity())


def source(model: str, net: nn.Module) -> Source:
    card = cast(dict[str, str | None], net.pretrained_cfg)
    page = f"https://huggingface.co/{card['hf_hub_id']}" if card.get("hf_hub_id") else card.get("url") or "its authors"
    return Source(f"timm/{model}", page, partial(download, model))


def download(model: str) -> Weights:
    import timm  # slow, see TimmFeatures

    return timm.create_model(model, pretrained=True, num_classes=0).state_dict()
