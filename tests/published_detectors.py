"""Published detectors, reimplemented from their descriptions without our code: functions of weights under the published names.

Each returns the weights of a random network, and a function of the prepared pixels that returns two logits (b, 2) or one (b,).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

Weights = dict[str, Tensor]
Forward = Callable[[Tensor], Tensor]
XCEPTION_BLOCKS = {1: (64, 128, 2, 2), 2: (128, 256, 2, 2), 3: (256, 728, 2, 2), 12: (728, 1024, 2, 2)}
XCEPTION_BLOCKS |= {number: (728, 728, 3, 1) for number in range(4, 12)}  # inputs, outputs, convolutions, stride


class Published(NamedTuple):
    weights: Weights
    logits: Forward


def norm_weights(name: str, width: int) -> Weights:
    statistics = {"weight": torch.rand(width) + 0.5, "bias": 0.1 * torch.randn(width)}
    statistics |= {"running_mean": 0.1 * torch.randn(width), "running_var": torch.rand(width) + 0.5}
    return {f"{name}.{key}": value for key, value in (statistics | {"num_batches_tracked": torch.tensor(1)}).items()}


def layer_weights(name: str, *shape: int, bias: bool = True) -> Weights:
    fan_in = int(np.prod(shape[1:]))
    weights = {f"{name}.weight": torch.randn(*shape) * (2 / fan_in) ** 0.5}
    return weights | ({f"{name}.bias": 0.1 * torch.randn(shape[0])} if bias else {})


def separable_weights(name: str, inputs: int, outputs: int) -> Weights:
    return layer_weights(f"{name}.conv1", inputs, 1, 3, 3, bias=False) | layer_weights(
        f"{name}.pointwise", outputs, inputs, 1, 1, bias=False
    )


def xception_weights(prefix: str, channels: int, head: str) -> Weights:
    weights = layer_weights("conv1", 32, channels, 3, 3, bias=False) | norm_weights("bn1", 32)
    weights |= layer_weights("conv2", 64, 32, 3, 3, bias=False) | norm_weights("bn2", 64)
    for number, (inputs, outputs, count, stride) in XCEPTION_BLOCKS.items():
        width = inputs
        for step in range(count):
            index = 3 * step + (0 if number == 1 else 1)
            following = inputs if number == 12 and step == 0 else outputs
            weights |= separable_weights(f"block{number}.rep.{index}", width, following)
            weights |= norm_weights(f"block{number}.rep.{index + 1}", following)
            width = following
        if stride > 1:
            weights |= layer_weights(f"block{number}.skip", outputs, inputs, 1, 1, bias=False)
            weights |= norm_weights(f"block{number}.skipbn", outputs)
    weights |= separable_weights("conv3", 1024, 1536) | norm_weights("bn3", 1536)
    weights |= separable_weights("conv4", 1536, 2048) | norm_weights("bn4", 2048)
    weights |= layer_weights("adjust_channel.0", 512, 2048, 1, 1) | norm_weights("adjust_channel.1", 512)
    weights |= layer_weights(head, 2, 2048)
    return {f"{prefix}.{name}": value for name, value in weights.items()}


def normed(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(x, *(w[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")))


def separable(w: Weights, name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x, w[f"{name}.conv1.weight"], padding=1, groups=x.shape[1])
    return F.conv2d(x, w[f"{name}.pointwise.weight"])


def xception_features(w: Weights, prefix: str, x: Tensor) -> Tensor:
    """Without the last activation."""
    for layer, stride in (("1", 2), ("2", 1)):
        x = F.relu(normed(w, f"{prefix}.bn{layer}", F.conv2d(x, w[f"{prefix}.conv{layer}.weight"], stride=stride)))
    for number in range(1, 13):
        *_, count, stride = XCEPTION_BLOCKS[number]
        name, y = f"{prefix}.block{number}", x
        for step in range(count):
            index = 3 * step + (0 if number == 1 else 1)
            y = y if number == 1 and step == 0 else F.relu(y)
            y = normed(w, f"{name}.rep.{index + 1}", separable(w, f"{name}.rep.{index}", y))
        if stride > 1:
            y = F.max_pool2d(y, 3, stride, 1)
            x = normed(w, f"{name}.skipbn", F.conv2d(x, w[f"{name}.skip.weight"], stride=stride))
        x = x + y
    x = F.relu(normed(w, f"{prefix}.bn3", separable(w, f"{prefix}.conv3", x)))
    return normed(w, f"{prefix}.bn4", separable(w, f"{prefix}.conv4", x))


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def classified(w: Weights, name: str, features: Tensor) -> Tensor:
    return linear(w, name, features.mean((2, 3)))


def xception() -> Published:
    w = xception_weights("backbone", 3, "last_linear")
    return Published(w, lambda x: classified(w, "backbone.last_linear", F.relu(xception_features(w, "backbone", x))))


def spsl() -> Published:
    w = xception_weights("backbone", 4, "last_linear")

    def logits(x: Tensor) -> Tensor:
        spectrum = np.fft.fft2(x.mean(1, keepdim=True).numpy().astype(np.float64))
        phase = np.fft.ifft2(np.exp(1j * np.angle(spectrum))).real
        both = torch.cat((x, torch.from_numpy(phase).float()), 1)
        return classified(w, "backbone.last_linear", F.relu(xception_features(w, "backbone", both)))

    return Published(w, logits)


def f3net(size: int = 256) -> Published:
    w = xception_weights("backbone", 12, "last_linear.1")
    rows = np.arange(size)[:, None]
    cosines = np.sqrt(2 / size) * np.cos((np.arange(size) + 0.5) * np.pi * rows / size)
    cosines[0] = np.sqrt(1 / size)
    total = rows + rows.T
    bands = ((0, size // 2.82), (size // 2.82, size // 2), (size // 2, 2 * size), (0, 2 * size))
    masks = [((low <= total) & (total <= high)).astype(np.float64) for low, high in bands]
    w |= {"FAD_head._DCT_all": torch.from_numpy(cosines).float(), "FAD_head._DCT_all_T": torch.from_numpy(cosines.T).float()}
    for number, mask in enumerate(masks):
        w[f"FAD_head.filters.{number}.base"] = torch.from_numpy(mask).float()
        w[f"FAD_head.filters.{number}.learnable"] = 0.1 * torch.randn(size, size)

    def logits(x: Tensor) -> Tensor:
        spectrum = cosines @ x.numpy() @ cosines.T
        learnt = [2 / (1 + np.exp(-w[f"FAD_head.filters.{number}.learnable"].numpy())) - 1 for number in range(4)]
        passed = [cosines.T @ (spectrum * (mask + extra)) @ cosines for mask, extra in zip(masks, learnt, strict=True)]
        features = xception_features(w, "backbone", torch.from_numpy(np.concatenate(passed, 1)).float())
        return classified(w, "backbone.last_linear.1", F.relu(features))

    return Published(w, logits)


def ucf() -> Published:
    w = xception_weights("encoder_f", 3, "last_linear") | xception_weights("encoder_c", 3, "last_linear")
    for part, classes in (("sha", 2), ("spe", 5)):
        for layer, inputs in ((0, 512), (2, 256), (4, 256)):
            w |= layer_weights(f"block_{part}.conv2d.{layer}", 256, inputs, 1, 1)
        w |= layer_weights(f"head_{part}.mlp.0", 512, 256) | layer_weights(f"head_{part}.mlp.2", classes, 512)
    w |= layer_weights("con_gan.conv_last", 3, 64, 1, 1)

    def logits(x: Tensor) -> Tensor:
        x = F.conv2d(xception_features(w, "encoder_f", x), *(w[f"encoder_f.adjust_channel.0.{k}"] for k in ("weight", "bias")))
        x = F.relu(normed(w, "encoder_f.adjust_channel.1", x))
        for layer in (0, 2, 4):
            x = F.conv2d(x, w[f"block_sha.conv2d.{layer}.weight"], w[f"block_sha.conv2d.{layer}.bias"])
            x = x if layer == 4 else F.leaky_relu(x, 0.01)
        return linear(w, "head_sha.mlp.2", F.leaky_relu(classified(w, "head_sha.mlp.0", x), 0.01))

    return Published(w, logits)


def meso4() -> Published:
    sizes = ((3, 8, 3), (8, 8, 5), (8, 16, 5), (16, 16, 5))
    w: Weights = norm_weights("backbone.bn1", 8) | norm_weights("backbone.bn2", 16)
    for number, (inputs, outputs, kernel) in enumerate(sizes, 1):
        w |= layer_weights(f"backbone.conv{number}", outputs, inputs, kernel, kernel, bias=False)
    w |= layer_weights("backbone.fc1", 16, 1024) | layer_weights("backbone.fc2", 2, 16)

    def logits(x: Tensor) -> Tensor:
        for number, (_, outputs, kernel) in enumerate(sizes, 1):
            x = F.relu(F.conv2d(x, w[f"backbone.conv{number}.weight"], padding=kernel // 2))
            x = F.max_pool2d(normed(w, f"backbone.bn{1 if outputs == 8 else 2}", x), 4 if number == 4 else 2)
        return linear(w, "backbone.fc2", F.leaky_relu(linear(w, "backbone.fc1", x.flatten(1)), 0.1))

    return Published(w, logits)


def efficientnet(prefix: str, head: str, outputs: int, padded_stem: bool = True, attention: str | None = None) -> Published:
    """The library's own network, with the changes that the detectors make to it."""
    net = EfficientNet.from_name("efficientnet-b4")
    if not padded_stem:
        net._conv_stem = nn.Conv2d(3, 48, 3, stride=2, bias=False)
    del net._fc
    w = {f"{prefix}.{name}": value for name, value in net.state_dict().items()} | layer_weights(head, outputs, 1792)
    w |= layer_weights(attention, 1, 56, 1, 1) if attention else {}

    def logits(x: Tensor) -> Tensor:
        x = net._swish(net._bn0(net._conv_stem(x)))
        for number, block in enumerate(net._blocks):
            x = block(x)
            if attention and number == 9:
                x = x * F.conv2d(x, w[f"{attention}.weight"], w[f"{attention}.bias"]).sigmoid()
        return classified(w, head, net._swish(net._bn1(net._conv_head(x)))).squeeze(-1)

    settle_norms(net, logits)
    return Published({name: net.state_dict().get(name.removeprefix(f"{prefix}."), value) for name, value in w.items()}, logits)


def settle_norms(net: nn.Module, forward: Forward) -> None:
    """Set the statistics of the norms, as in a trained network; otherwise the last features vanish."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()
        forward(different_pixels(4, 224))
    net.eval()


def clip(prefix: str, head: str, dim: int, depth: int, patch: int, size: int = 224, normalised: bool = False) -> Published:
    """CLIP's image tower under the names of transformers, with a linear layer on its class token."""
    heads, cells = dim // 64, (size // patch) ** 2
    w: Weights = {f"{prefix}embeddings.class_embedding": torch.randn(dim)}
    w |= layer_weights(f"{prefix}embeddings.patch_embedding", dim, 3, patch, patch, bias=False)
    w[f"{prefix}embeddings.position_embedding.weight"] = 0.5 * torch.randn(cells + 1, dim)
    for name in (
        "pre_layrnorm",
        "post_layernorm",
        *(f"encoder.layers.{n}.layer_norm{k}" for n in range(depth) for k in (1, 2)),
    ):
        w |= {f"{prefix}{name}.weight": torch.rand(dim) + 0.5, f"{prefix}{name}.bias": 0.1 * torch.randn(dim)}
    for number in range(depth):
        layer = f"{prefix}encoder.layers.{number}"
        for part in ("q", "k", "v", "out"):
            w |= layer_weights(f"{layer}.self_attn.{part}_proj", dim, dim)
        w |= layer_weights(f"{layer}.mlp.fc1", 4 * dim, dim) | layer_weights(f"{layer}.mlp.fc2", dim, 4 * dim)
    w |= layer_weights(head, 2, dim) | layer_weights("visual_projection", 96, dim, bias=False)  # which nothing depends on

    def layer_norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (dim,), w[f"{prefix}{name}.weight"], w[f"{prefix}{name}.bias"])

    def logits(x: Tensor) -> Tensor:
        patches = F.conv2d(x, w[f"{prefix}embeddings.patch_embedding.weight"], stride=patch).flatten(2).mT
        tokens = torch.cat((w[f"{prefix}embeddings.class_embedding"].expand(len(x), 1, dim), patches), 1)
        tokens = layer_norm("pre_layrnorm", tokens + w[f"{prefix}embeddings.position_embedding.weight"])
        for number in range(depth):
            layer = f"encoder.layers.{number}"
            y = layer_norm(f"{layer}.layer_norm1", tokens)
            q, k, v = (
                current_weight(w, f"{prefix}{layer}.self_attn.{part}_proj", y).view(len(x), -1, heads, 64).transpose(1, 2)
                for part in "qkv"
            )
            mixed = ((q @ k.mT / 8).softmax(-1) @ v).transpose(1, 2).reshape(len(x), -1, dim)
            tokens = tokens + current_weight(w, f"{prefix}{layer}.self_attn.out_proj", mixed)
            y = linear(w, f"{prefix}{layer}.mlp.fc1", layer_norm(f"{layer}.layer_norm2", tokens))
            tokens = tokens + linear(w, f"{prefix}{layer}.mlp.fc2", y * torch.sigmoid(1.702 * y))
        pooled = layer_norm("post_layernorm", tokens[:, 0])
        return linear(w, head, F.normalize(pooled, dim=1) if normalised else pooled)

    return Published(w, logits)


def current_weight(w: Weights, name: str, x: Tensor) -> Tensor:
    """A linear layer, or one with a low-rank update of its weight."""
    if f"{name}.weight" in w:
        return linear(w, name, x)
    u, s, v = (w[f"{name}.{factor}_residual"] for factor in "USV")
    return F.linear(x, w[f"{name}.weight_main"] + u @ torch.diag(s) @ v, w[f"{name}.bias"])


def effort(dim: int, depth: int, patch: int) -> Published:
    w, logits = clip("backbone.", "head", dim, depth, patch)
    for name in [name for name in w if "self_attn" in name and name.endswith(".weight")]:
        layer = name.removesuffix(".weight")
        u, s, v = torch.linalg.svd(w.pop(name))
        main = (u[:, :-1] * s[:-1]) @ v[:-1]
        w |= {f"{layer}.weight_main": main, f"{layer}.U_r": u[:, :-1], f"{layer}.S_r": s[:-1], f"{layer}.V_r": v[:-1]}
        w |= {f"{layer}.U_residual": torch.randn(dim, 1), f"{layer}.S_residual": 0.05 * torch.randn(1)}
        w[f"{layer}.V_residual"] = torch.randn(1, dim)
    return Published(w, logits)


def classnseg() -> Published:
    """The convolutions of the encoder, then the transposed ones of the decoder, each followed by a batch norm."""
    w: Weights = {}
    for number, (inputs, outputs) in enumerate(pairwise((3, 8, 8, 16, 16, 32, 32, 64, 64, 128))):
        w |= layer_weights(f"encoder.{3 * number}", outputs, inputs, 3, 3)
        w |= norm_weights(f"encoder.{3 * number + 1}", outputs)
    for part, widths in (("shared", (128, 64, 64, 32, 32)), ("segmenter", (32, 16, 16, 8, 8)), ("decoder", (32, 16, 16, 8, 8))):
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            w |= transposed_weights(f"{part}.{3 * number}", inputs, outputs) | norm_weights(f"{part}.{3 * number + 1}", outputs)
    w |= transposed_weights("segmenter.12", 8, 2) | transposed_weights("decoder.12", 8, 3)

    def logits(x: Tensor) -> Tensor:
        fake_half, real_half = classnseg_features(w, x)
        return fake_half.abs().mean((1, 2, 3)) - real_half.abs().mean((1, 2, 3))

    return Published(w, logits)


def transposed_weights(name: str, inputs: int, outputs: int) -> Weights:
    return {
        f"{name}.weight": torch.randn(inputs, outputs, 3, 3) * (2 / (9 * inputs)) ** 0.5,
        f"{name}.bias": torch.zeros(outputs),
    }


def classnseg_features(w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    for number in range(9):
        weight, bias = (w[f"encoder.{3 * number}.{kind}"] for kind in ("weight", "bias"))
        x = F.relu(normed(w, f"encoder.{3 * number + 1}", F.conv2d(x, weight, bias, 1 + number % 2, 1)))
    return x[:, :64], x[:, 64:]


def classnseg_mask(w: Weights, x: Tensor) -> Tensor:
    """The probability that each pixel of one picture is manipulated."""
    fake_half, real_half = classnseg_features(w, x)
    is_fake = fake_half.abs().mean() > real_half.abs().mean()
    x = torch.cat((fake_half * is_fake, real_half * ~is_fake), 1)
    for part in ("shared", "segmenter"):
        for number in range(4):
            weight, bias = (w[f"{part}.{3 * number}.{kind}"] for kind in ("weight", "bias"))
            odd = number % 2
            x = F.relu(normed(w, f"{part}.{3 * number + 1}", F.conv_transpose2d(x, weight, bias, 1 + odd, 1, odd)))
    return F.conv_transpose2d(x, w["segmenter.12.weight"], w["segmenter.12.bias"], 1, 1).softmax(1)[:, 1]


def different_pixels(count: int, size: int) -> Tensor:
    """Coarse patterns in different colours; a network with random weights gives the same logit for all noise."""
    coarse = 2 * torch.rand(count, 3, 7, 7) * torch.rand(count, 3, 1, 1) - 1
    return F.interpolate(coarse, size=size, mode="bilinear") + 0.05 * torch.randn(count, 3, size, size)
