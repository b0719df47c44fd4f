"""EfficientNet-Lite0: the network of timm without timm, and its weights from a package."""

import sys
from pathlib import Path

import pytest
import timm
import torch
import yaml
from test_timm_backbones import CONFIGS, project  # noqa: F401
from torch import nn

from explain_deepfakes.model_test_train import import_weights
from explain_deepfakes.model_test_train.networks.batch_norm import fold_batch_norms
from explain_deepfakes.model_test_train.networks.efficientnet_lite import LAST_STAGE, PACKAGE, LiteFeatures
from explain_deepfakes.model_test_train.networks.network import build_network, read_description
from explain_deepfakes.pipeline.errors import UserError

MODEL = "tf_efficientnet_lite0"


def trained_network() -> nn.Module:
    """A network of timm whose batch norms have statistics as after training."""
    net = timm.create_model(MODEL, num_classes=0).eval()
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        for values, least, most in ((norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 2), (norm.weight.data, 0.5, 1.5)):
            nn.init.uniform_(values, least, most)
    return net


@pytest.mark.parametrize("stride", LAST_STAGE)
@pytest.mark.parametrize("size", [192, 161])
@torch.no_grad()
def test_the_feature_maps_are_those_of_timm(stride: int, size: int) -> None:
    reference, pictures = trained_network(), torch.randn(2, 3, size, size)
    ours = LiteFeatures(
        size, stride, pretrained=lambda net, _: net.load_state_dict(reference.state_dict(), strict=False)
    ).eval()
    level = [info["reduction"] for info in reference.feature_info].index(stride)
    expected = reference.forward_intermediates(pictures, indices=[level], intermediates_only=True)[0]
    assert torch.equal(ours(pictures), expected)
    fold_batch_norms(ours.net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())
    assert torch.allclose(ours(pictures), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_random_weights_keep_the_scale_of_the_features() -> None:
    torch.manual_seed(1)
    pictures = torch.randn(4, 3, 64, 64)
    ours = LiteFeatures(64, 16, pretrained=False).eval()(pictures)
    reference = timm.create_model(MODEL).eval().forward_intermediates(pictures, indices=[3], intermediates_only=True)[0]
    assert 0.3 < float(ours.std() / reference.std()) < 3


def test_a_stride_without_feature_map_is_rejected() -> None:
    with pytest.raises(UserError, match=r"no feature map at stride 12; backbone.stride can be \[2, 4, 8, 16, 32\]"):
        LiteFeatures(64, 12, pretrained=False)


def test_weights_are_imported_from_the_package(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    extended = {"extends": f"{CONFIGS}/vit.yaml", "backbone": {"name": f"timm/{MODEL}", "stride": 16, "pretrained": True}}
    (tmp_path / "lite.yaml").write_text(yaml.safe_dump(extended))
    monkeypatch.setattr(sys, "argv", ["import_weights", "--config", str(tmp_path / "lite.yaml")])
    with pytest.raises(UserError, match=f"get them from the package {PACKAGE}"):
        import_weights.main()
    torch.manual_seed(5)
    weights = timm.create_model(MODEL).state_dict()
    (tmp_path / PACKAGE / "models").mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").touch()
    renamed = {f"_{number}": tensor for number, tensor in enumerate(weights.values())}
    torch.save(renamed, tmp_path / PACKAGE / "models/lite0.pth")
    monkeypatch.syspath_prepend(tmp_path)
    import_weights.main()
    network = build_network(read_description(tmp_path / "lite.yaml"))
    ours = network.backbone.state_dict()
    assert all(torch.equal(tensor, weights[name.removeprefix("net.")]) for name, tensor in ours.items())
    del renamed["_0"]
    torch.save(renamed, tmp_path / PACKAGE / "models/lite0.pth")
    with pytest.raises(UserError, match="does not hold the tensors of EfficientNet-Lite0"):
        import_weights.main()
