"""The part of UCF (Yan et al., ICCV 2023) that gives its verdict: the features that all manipulations have in common."""

from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.registry import head

SLOPE = 0.01  # of the leaky ReLUs


@head("ucf")
class UcfHead(nn.Module):
    """Reduces the channels of the features, keeps what the manipulations share, and classifies its mean."""

    def __init__(self, channels: int, grid: tuple[int, int], dim: int, dropout: float) -> None:
        super().__init__()
        half = dim // 2
        self.adjust = nn.Sequential(nn.Conv2d(channels, dim, 1), nn.BatchNorm2d(dim), nn.ReLU())
        self.shared = nn.Sequential(
            nn.Conv2d(dim, half, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(half, half, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(half, half, 1),
        )
        self.to_logit = nn.Sequential(nn.Linear(half, dim), nn.LeakyReLU(SLOPE), nn.Linear(dim, 1), nn.Flatten(0))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        return self.to_logit(self.dropout(self.shared(self.adjust(features)).mean((2, 3))))
