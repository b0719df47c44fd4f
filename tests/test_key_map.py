"""A key map turns the tensors of a published file into the weights of a network, and names what does not fit."""

import pytest
import torch
from torch import Tensor, nn

from explain_deepfakes.model_test_train.networks.key_map import KeyMap, load_strictly, map_keys
from explain_deepfakes.pipeline.errors import UserError


class Little(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.norm = nn.BatchNorm1d(4)
        self.same_norm = nn.BatchNorm1d(4)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.to_logit = nn.Linear(4, 1)


def key_map(**changes: object) -> KeyMap:
    usual = {"discard": (), "merge": (), "rename": {}, "join": {}, "copy": {}, "zero": (), "keep": (), "fake_logit": None}
    return KeyMap(**{**usual, "lora_scale": 1.0, **changes})  # type: ignore[arg-type]


def mapped(weights: dict[str, Tensor], **changes: object) -> dict[str, Tensor]:
    return map_keys(weights, key_map(**changes), Little(), "the file")


def test_the_first_pattern_that_matches_a_whole_name_renames_it() -> None:
    names = mapped(
        {"net.token": torch.zeros(1), "net.other": torch.zeros(1), "my.net.token": torch.zeros(1)},
        rename={r"net\.token": "first", r"net\.(.*)": r"second.\1"},
    )
    assert set(names) == {"first", "second.other", "my.net.token"}


def test_two_tensors_of_one_name_are_an_error() -> None:
    with pytest.raises(UserError, match="the file has two tensors for token"):
        mapped({"a": torch.zeros(1), "b": torch.zeros(1)}, rename={"[ab]": "token"})


def test_layers_are_joined_and_a_missing_bias_is_zero() -> None:
    parts = {f"{part}_proj.weight": torch.full((4, 4), float(number)) for number, part in enumerate("qkv", 1)}
    parts |= {f"{part}_proj.bias": torch.full((4,), float(number)) for number, part in ((1, "q"), (3, "v"))}
    joined = mapped(parts, join={"qkv": ("q_proj", "k_proj", "v_proj")})
    assert joined["qkv.weight"][:, 0].tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert joined["qkv.bias"].tolist() == [1] * 4 + [0] * 4 + [3] * 4


@pytest.mark.parametrize("fake", [0, 1])
def test_two_logits_become_their_difference(fake: int) -> None:
    features, two = torch.randn(5, 4), nn.Linear(4, 2)
    weights = {"to_logit.weight": two.weight.detach(), "to_logit.bias": two.bias.detach()}
    folded = mapped(weights, fake_logit=fake)
    logits = features @ folded["to_logit.weight"].T + folded["to_logit.bias"]
    assert torch.allclose(logits[:, 0].sigmoid(), two(features).softmax(1)[:, fake], atol=1e-6)


def test_low_rank_factors_are_added_to_their_weight() -> None:
    main, u, s, v = torch.randn(4, 4), torch.randn(4, 2), torch.randn(2), torch.randn(2, 4)
    factors = {"a.weight_main": main, "a.U_residual": u, "a.S_residual": s, "a.V_residual": v}
    assert torch.allclose(mapped(factors, merge=("svd",))["a.weight"], main + u @ torch.diag(s) @ v, atol=1e-6)
    lora = {"a.weight": main, "a.lora_B": u, "a.lora_A": v}
    assert torch.allclose(mapped(lora, merge=("lora",), lora_scale=0.5)["a.weight"], main + 0.5 * u @ v, atol=1e-6)
    del factors["a.S_residual"]
    with pytest.raises(UserError, match=r"the file lacks a\.S_residual, one of the low-rank factors \(svd\) of a"):
        mapped(factors, merge=("svd",))


def test_copies_zeros_and_kept_weights_complete_the_network() -> None:
    weights = {f"norm.{key}": value + 2 for key, value in nn.BatchNorm1d(4).state_dict().items()}
    complete = mapped(weights, copy={r"same_norm\.(.*)": r"norm.\1"}, zero=(r"qkv\.bias",), keep=("token",))
    assert torch.equal(complete["same_norm.running_var"], weights["norm.running_var"])
    assert torch.equal(complete["qkv.bias"], torch.zeros(12))
    assert torch.equal(complete["token"], torch.zeros(1, 1, 4))


def test_axes_of_length_one_do_not_matter() -> None:
    assert mapped({"token": torch.arange(4.0)})["token"].shape == (1, 1, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("token"), "1 of its 15 tensors are missing, for example token"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "1 tensors are unknown, for example extra"),
        (lambda weights: weights.update(token=torch.zeros(1, 2, 4)), r"token has the shape \(1, 2, 4\) instead of \(1, 1, 4\)"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, message: str) -> None:
    network = Little()
    before, weights = {name: value.clone() for name, value in network.state_dict().items()}, dict(Little().state_dict())
    change(weights)
    with pytest.raises(UserError, match=f"the file does not fit the network: {message}"):
        load_strictly(network, weights, "the file")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_files_of_older_frameworks_have_no_counters() -> None:
    weights = {name: value for name, value in Little().state_dict().items() if not name.endswith("num_batches_tracked")}
    network = Little()
    load_strictly(network, weights, "the file")
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in weights.items())
