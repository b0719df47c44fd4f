"""What a network is taught: prepared pixels and the truth about them -> losses, as sums that any share of a batch adds to."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from model_test_train.networks.network import Network

LEAST_TO_SEE = 0.5  # places; what was changed less is not asked to be looked at


class DetectionLoss(nn.Module):
    """Was the picture changed; was each place of it; and did the class token look there, where the truth is known?"""

    def __init__(self, network: Network, label_smoothing: float, class_weights: tuple[float, ...], patch_head: bool) -> None:
        super().__init__()
        self.network, self.label_smoothing, self.patch_head = network, label_smoothing, patch_head
        self.of_real, self.of_fake = class_weights

    def forward(self, pixels: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """The sums of the three losses (3,); `counted` says over how many."""
        logits, patch_logits, class_attention = self._ask(pixels)
        targets = labels * (1 - 2 * self.label_smoothing) + self.label_smoothing
        weights = torch.where(labels > 0.5, self.of_fake, self.of_real)
        verdict_loss = (weights * binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")).sum()
        changed, patch_loss, attention_loss = masks.nan_to_num(), verdict_loss.new_zeros(()), verdict_loss.new_zeros(())
        if patch_logits is not None:
            patch_losses = binary_cross_entropy_with_logits(patch_logits.float(), changed, reduction="none")
            patch_loss = (patch_losses * ~masks.isnan()).sum()
        if class_attention is not None:
            attention_losses = -((class_attention.float() * changed).sum((1, 2)) + 1e-4).log()
            attention_loss = (attention_losses * _are_to_be_seen(masks)).sum()
        return torch.stack((verdict_loss, patch_loss, attention_loss))

    def _ask(self, pixels: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.network.forward_patches(pixels) if self.patch_head else (self.network(pixels), None, None)


def counted(labels: Tensor, masks: Tensor) -> Tensor:
    """Over how many pictures and places the sums of a lesson run (3,)."""
    return torch.stack((labels.new_tensor(len(labels)), (~masks.isnan()).sum(), _are_to_be_seen(masks).sum()))


def _are_to_be_seen(masks: Tensor) -> Tensor:
    return masks.nan_to_num().sum((1, 2)) >= LEAST_TO_SEE
