"""EfficientNet under the weight names of the published checkpoints."""

from functools import partial

from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.pretrained import Pretrained, Source, Weights, load_pretrained
from explain_deepfakes.model_test_train.networks.registry import backbone


class PublishedEfficientNet(nn.Module):
    """Trains only the last blocks and the layers after them.

    Frozen layers have no gradients and keep their statistics. The published training freezes the same blocks, but trains the
    layer before them and therefore has to backpropagate through all of them.

    Published detectors differ from the package's network: its classifier is missing (`classifier: false`), its first layer has
    no padding (`padded_stem: false`), or a learnt map multiplies the features after a block (`attention_after`).
    """

    def __init__(
        self,
        variant: str,
        size: int,
        trainable_blocks: int,
        pretrained: Pretrained,
        classifier: bool = True,
        padded_stem: bool = True,
        attention_after: int | None = None,
    ) -> None:
        super().__init__()
        self.efficient_net = EfficientNet.from_name(f"efficientnet-{variant}")
        load_pretrained(self.efficient_net, pretrained, source(variant))
        net = self.efficient_net
        self.first_trainable = len(net._blocks) - trainable_blocks
        if not padded_stem:
            net._conv_stem = nn.Conv2d(3, net._conv_stem.out_channels, 3, stride=2, bias=False)
        if not classifier:
            del net._fc
        unused = [net._fc] if classifier else []  # kept where published checkpoints contain its weights
        for module in (net._conv_stem, net._bn0, *net._blocks[: self.first_trainable], *unused):
            module.requires_grad_(False)
        self.attention_after = attention_after
        if attention_after is not None:
            self.to_attention = nn.Conv2d(net._blocks[attention_after]._bn2.num_features, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        net, block_count = self.efficient_net, len(self.efficient_net._blocks)
        features = net._swish(net._bn0(net._conv_stem(pixels)))
        for index, block in enumerate(net._blocks):
            is_trainable = index >= self.first_trainable
            rate = net._global_params.drop_connect_rate * index / block_count if is_trainable else None
            features = block(features, drop_connect_rate=rate)
            if index == self.attention_after:
                features = features * self.to_attention(features).sigmoid()
        return net._swish(net._bn1(net._conv_head(features)))


def source(variant: str) -> Source:
    name = f"efficientnet-{variant}"

    def download() -> Weights:
        return EfficientNet.from_pretrained(name).state_dict()

    return Source(f"efficientnet-pytorch/{name}", "https://github.com/lukemelas/EfficientNet-PyTorch/releases", download)


for variant in ("b0", "b4", "b7"):
    backbone(f"efficientnet-{variant}")(partial(PublishedEfficientNet, variant))
