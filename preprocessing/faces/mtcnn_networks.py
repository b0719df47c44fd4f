"""The networks of MTCNN, with the weights of facenet-pytorch.

They are those of `facenet_pytorch.MTCNN`. Importing that package would also import torchvision, which takes seconds.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn


def load_networks(device: torch.device) -> tuple[nn.Module, nn.Module, nn.Module]:
    """P-Net, R-Net and O-Net, in eval mode."""
    spec = find_spec("facenet_pytorch")
    assert spec is not None
    assert spec.origin is not None
    for name, network in (networks := {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}).items():
        weights = torch.load(Path(spec.origin).with_name("data") / f"{name}.pt", weights_only=True)
        network.load_state_dict(weights)
        network.eval().to(device)
    return networks["pnet"], networks["rnet"], networks["onet"]


class PNet(nn.Module):
    """Pictures (n, 3, h, w) -> offsets (n, 4, rows, columns) and probabilities of no face and of one (n, 2, rows, columns)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.pool1(self.prelu1(self.conv1(pictures)))
        features = self.prelu3(self.conv3(self.prelu2(self.conv2(features))))
        return self.conv4_2(features), self.conv4_1(features).softmax(1)


class RNet(nn.Module):
    """Pictures (n, 3, 24, 24) -> offsets (n, 4) and probabilities (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.pool1(self.prelu1(self.conv1(pictures)))
        features = self.pool2(self.prelu2(self.conv2(features)))
        features = self.prelu3(self.conv3(features))
        features = self.prelu4(self.dense4(features.permute(0, 3, 2, 1).flatten(1)))
        return self.dense5_2(features), self.dense5_1(features).softmax(1)


class ONet(nn.Module):
    """Pictures (n, 3, 48, 48) -> offsets (n, 4), landmarks (n, 10) and probabilities (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.pool1(self.prelu1(self.conv1(pictures)))
        features = self.pool2(self.prelu2(self.conv2(features)))
        features = self.pool3(self.prelu3(self.conv3(features)))
        features = self.prelu4(self.conv4(features))
        features = self.prelu5(self.dense5(features.permute(0, 3, 2, 1).flatten(1)))
        return self.dense6_2(features), self.dense6_3(features), self.dense6_1(features).softmax(1)
