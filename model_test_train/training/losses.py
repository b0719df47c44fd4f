"""Training losses of a network, as sums that can be accumulated over parts of a batch.

A further loss also needs a weight in `Recipe` and in `Trainer.loss_weights` (trainer.py), and in configs/common/usual.yaml.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from explain_deepfakes.model_test_train.networks.network import Network

LOSS_NAMES = ("train_loss", "verdict_loss", "patch_loss", "attention_loss")  # the first is the weighted sum of the others
MIN_MANIPULATED_PATCHES = 0.5  # pictures with fewer manipulated patches are left out of the attention loss


class DetectionLoss(nn.Module):
    """Three losses: of the verdict, of each patch (was it manipulated?) and of class-token attention to manipulated patches."""

    def __init__(self, network: Network, label_smoothing: float, class_weights: tuple[float, ...], patch_head: bool) -> None:
        super().__init__()
        self.network, self.label_smoothing, self.patch_head = network, label_smoothing, patch_head
        self.real_weight, self.fake_weight = class_weights

    def forward(self, pixels: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """Sums of the three losses (3,); `loss_counts` has the numbers to divide them by."""
        logits, patch_logits, class_attention = self._predict(pixels)
        targets = labels * (1 - 2 * self.label_smoothing) + self.label_smoothing
        weights = torch.where(labels > 0.5, self.fake_weight, self.real_weight)
        verdict_loss = (weights * binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")).sum()
        manipulated, patch_loss, attention_loss = masks.nan_to_num(), verdict_loss.new_zeros(()), verdict_loss.new_zeros(())
        if patch_logits is not None:
            patch_losses = binary_cross_entropy_with_logits(patch_logits.float(), manipulated, reduction="none")
            patch_loss = (patch_losses * ~masks.isnan()).sum()
        if class_attention is not None:
            attention_losses = -((class_attention.float() * manipulated).sum((1, 2)) + 1e-4).log()
            attention_loss = (attention_losses * _in_attention_loss(masks)).sum()
        return torch.stack((verdict_loss, patch_loss, attention_loss))

    def _predict(self, pixels: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.network.forward_patches(pixels) if self.patch_head else (self.network(pixels), None, None)


def loss_counts(labels: Tensor, masks: Tensor) -> Tensor:
    """Number of pictures, of patches with a known mask and of pictures in the attention loss (3,)."""
    return torch.stack((labels.new_tensor(len(labels)), (~masks.isnan()).sum(), _in_attention_loss(masks).sum()))


def _in_attention_loss(masks: Tensor) -> Tensor:
    return masks.nan_to_num().sum((1, 2)) >= MIN_MANIPULATED_PATCHES
