"""Training losses of a network, as sums that can be accumulated over parts of a batch.

A further loss also needs a weight in `Recipe` and in `Trainer.loss_weights` (trainer.py), and in configs/common/usual.yaml.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from explain_deepfakes.model_test_train.networks.heads import LinearHead
from explain_deepfakes.model_test_train.networks.network import Network

# The first is the weighted sum of the others.
LOSS_NAMES = ("train_loss", "verdict_loss", "patch_loss", "attention_loss", "embedding_loss")
MIN_MANIPULATED_PATCHES = 0.5  # pictures with fewer manipulated patches are left out of the attention loss


@dataclass(frozen=True)
class EmbeddingWeights:
    """Weights of the two losses of unit vectors (Wang and Isola, ICML 2020): near to those of the same class, far from all."""

    alignment: float
    uniformity: float

    def __bool__(self) -> bool:
        return bool(self.alignment or self.uniformity)

    def loss(self, vectors: Tensor, labels: Tensor) -> Tensor:
        squared = torch.pdist(vectors.float()).square()
        rows, columns = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
        of_same_class = squared[labels[rows] == labels[columns]]
        alignment = of_same_class.mean() if len(of_same_class) else squared.new_zeros(())
        uniformity = (-2 * squared).exp().mean().clamp(min=1e-6).log()
        return self.alignment * alignment + self.uniformity * uniformity


class DetectionLoss(nn.Module):
    """Losses of the verdict, of each patch (was it manipulated?), of class-token attention to manipulated patches, and of the
    features' unit vectors. The last one depends on all pictures of a chunk.
    """

    def __init__(
        self,
        network: Network,
        label_smoothing: float,
        class_weights: tuple[float, ...],
        patch_head: bool,
        embedding_weights: EmbeddingWeights,
    ) -> None:
        super().__init__()
        self.network, self.label_smoothing, self.patch_head = network, label_smoothing, patch_head
        self.real_weight, self.fake_weight = class_weights
        self.embedding_weights = embedding_weights

    def forward(self, pixels: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        """Sums of the four losses (4,); `loss_counts` has the numbers to divide them by."""
        embedding_loss = pixels.new_zeros(())
        if self.embedding_weights:
            head = cast(LinearHead, self.network.head)
            vectors = head.embed(self.network.backbone(pixels))
            logits, patch_logits, class_attention = head.classify(vectors), None, None
            embedding_loss = len(labels) * self.embedding_weights.loss(vectors, labels)
        else:
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
        return torch.stack((verdict_loss, patch_loss, attention_loss, embedding_loss))

    def _predict(self, pixels: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return self.network.forward_patches(pixels) if self.patch_head else (self.network(pixels), None, None)


def loss_counts(labels: Tensor, masks: Tensor) -> Tensor:
    """Number of pictures, of patches with a known mask, of pictures in the attention loss, and of pictures again (4,)."""
    pictures = labels.new_tensor(len(labels))
    return torch.stack((pictures, (~masks.isnan()).sum(), _in_attention_loss(masks).sum(), pictures))


def _in_attention_loss(masks: Tensor) -> Tensor:
    return masks.nan_to_num().sum((1, 2)) >= MIN_MANIPULATED_PATCHES
