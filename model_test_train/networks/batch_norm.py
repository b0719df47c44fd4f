"""Batch norms of pretrained backbones."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from explain_deepfakes.pipeline.errors import UserError


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
