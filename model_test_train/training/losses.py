"""What a network is taught: prepared pixels and the truth about them -> losses, as sums that any share of a batch adds to."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from model_test_train.networks.network import Network

LEAST_TO_SEE = 0.5  # places; what was changed less is not asked to be looked at


class Lesson(nn.Module):
    """Was the picture changed; was each place of it; and did the class token look there, where the truth is known?"""

    def __init__(self, network: Network, label_smoothing: float, class_weights: tuple[float, ...], of_places: bool) -> None:
        super().__init__()
        self.network, self.label_smoothing, self.of_places = network, label_smoothing, of_places
        self.of_real, self.of_fake = class_weights

    def forward(self, pixels: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """The sums of the three losses (3,); `counted` says over how many."""
        logits, place_logits, gaze = self._ask(pixels)
        targets = labels * (1 - 2 * self.label_smoothing) + self.label_smoothing
        weights = torch.where(labels > 0.5, self.of_fake, self.of_real)
        verdict_loss = (weights * binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")).sum()
        changed, place_loss, gaze_loss = masks.nan_to_num(), verdict_loss.new_zeros(()), verdict_loss.new_zeros(())
        if place_logits is not None:
            place_losses = binary_cross_entropy_with_logits(place_logits.float(), changed, reduction="none")
            place_loss = (place_losses * ~masks.isnan()).sum()
        if gaze is not None:
            gaze_losses = -((gaze.float() * changed).sum((1, 2)) + 1e-4).log()
            gaze_loss = (gaze_losses * _are_to_be_seen(masks)).sum()
        return torch.stack((verdict_loss, place_loss, gaze_loss))

    def _ask(self, pixels: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.network.judge_places(pixels) if self.of_places else (self.network(pixels), None, None)


def counted(labels: Tensor, masks: Tensor) -> Tensor:
    """Over how many pictures and places the sums of a lesson run (3,)."""
    return torch.stack((labels.new_tensor(len(labels)), (~masks.isnan()).sum(), _are_to_be_seen(masks).sum()))


def _are_to_be_seen(masks: Tensor) -> Tensor:
    return masks.nan_to_num().sum((1, 2)) >= LEAST_TO_SEE
