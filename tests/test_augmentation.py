"""Augmentations: what each changes, and what it leaves alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model_test_train.augmentations.augmentation import KINDS, Augmentation, build_augmentation
from model_test_train.augmentations.looks import LOOKS
from model_test_train.augmentations.sheet import SHOWN
from pipeline.errors import UserError

SIZE = 64


def only(name: str, p: float = 1.0) -> Augmentation:
    return build_augmentation({name: {"p": p, **SHOWN[name]}})


def portrait(seed: int = 0) -> np.ndarray:
    """Coarse colours with fine grain, far from black and white."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(70, 180, (8, 8, 3)).repeat(SIZE // 8, 0).repeat(SIZE // 8, 1)
    return (coarse + rng.integers(-12, 13, (SIZE, SIZE, 3))).astype(np.uint8)


def as_tensor(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def looks(name: str, picture: np.ndarray, key: int = 0) -> np.ndarray:
    return only(name).look(as_tensor(picture), (0, 0, key))[0].permute(1, 2, 0).numpy()


def luma(picture: np.ndarray) -> np.ndarray:
    return picture @ np.array([0.299, 0.587, 0.114])


def grain(picture: np.ndarray) -> float:
    """What neighbours differ by."""
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


def test_every_augmentation_is_spoken_of_here() -> None:
    assert set(SHOWN) == set(KINDS)


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_changes_the_picture_the_same_way_each_time_and_not_at_all_at_probability_zero(name: str) -> None:
    picture = as_tensor(portrait())
    changed, again = (only(name).look(picture, (1, 2, 3)) for _ in range(2))
    assert changed.dtype == torch.uint8
    assert changed.shape == picture.shape
    assert not torch.equal(changed, picture)
    assert torch.equal(changed, again)
    assert torch.equal(only(name, p=0.0).look(picture, (1, 2, 3)), picture)


@pytest.mark.parametrize("name", ["hue", "grey", "blur", "jpeg", "downscale"])
def test_of_a_flat_grey_picture_nothing_is_to_be_changed(name: str) -> None:
    flat = np.full((SIZE, SIZE, 3), 120, np.uint8)
    assert np.abs(looks(name, flat).astype(int) - flat).max() <= 1


def test_brightness_changes_all_by_one_factor() -> None:
    picture = portrait()
    factors = looks("brightness", picture) / picture
    assert factors.std() < 0.01
    assert abs(factors.mean() - 1) > 0.02


def test_contrast_leaves_the_mean_alone() -> None:
    picture = portrait()
    changed = looks("contrast", picture)
    assert luma(changed).mean() == pytest.approx(luma(picture).mean(), abs=1)
    assert abs(changed.std() / picture.std() - 1) > 0.02


def test_hue_leaves_the_lightest_and_the_darkest_channel_as_light_and_dark() -> None:
    picture = portrait()
    changed = looks("hue", picture)
    assert np.abs(changed.max(2).astype(int) - picture.max(2)).max() <= 2
    assert np.abs(changed.min(2).astype(int) - picture.min(2)).max() <= 2
    assert np.abs(changed.astype(int) - picture).mean() > 5


def test_grey_has_no_colour_and_the_same_light() -> None:
    picture = portrait()
    changed = looks("grey", picture)
    assert np.ptp(changed, axis=2).max() == 0
    assert np.abs(luma(changed) - luma(picture)).max() < 1.5


def test_pca_colour_shifts_all_pixels_alike() -> None:
    shift = looks("pca_colour", portrait()).astype(int) - portrait()
    assert np.ptp(shift, axis=(0, 1)).max() <= 1
    assert np.abs(shift).max() > 1


def test_noise_has_no_mean_and_no_pattern() -> None:
    noise = looks("noise", portrait()).astype(float) - portrait()
    assert abs(noise.mean()) < 0.5
    assert noise.std() > 1
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.05


def test_noise_of_frequencies_leaves_the_mean_alone_and_is_stronger_where_the_picture_is() -> None:
    picture = portrait()
    assert np.allclose(looks("dct_noise", picture).mean((0, 1)), picture.mean((0, 1)), atol=0.5)
    quiet = np.full((SIZE, SIZE, 3), 120, np.uint8)
    assert np.array_equal(looks("dct_noise", quiet), quiet)


@pytest.mark.parametrize("name", ["blur", "jpeg", "downscale"])
def test_what_takes_detail_away_leaves_the_large_alone(name: str) -> None:
    picture = portrait()
    changed = looks(name, picture)
    assert grain(changed) < 0.95 * grain(picture)
    assert changed.mean() == pytest.approx(picture.mean(), abs=1.5)


def test_the_grid_hides_squares_and_nothing_else() -> None:
    picture = portrait()
    changed = looks("grid_mask", picture)
    hidden = (changed == 127).all(2)
    assert 0.1 < hidden.mean() < 0.5
    assert np.array_equal(changed[~hidden], picture[~hidden])
    assert {tuple(row) for row in hidden} == {tuple(row) for row in hidden if row.any()} | {(False,) * SIZE}


@pytest.mark.parametrize("name", ["flip", "part", "rotate"])
def test_what_moves_a_picture_moves_its_mask_alike(name: str) -> None:
    """The mask is where the picture is light; so it is afterwards."""
    picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
    picture[10:30, 8:40] = 200
    mask = (picture[..., 0] > 100).astype(np.float32)
    for place in range(5):
        move = only(name).move((0, 0, place))
        moved, moved_mask = move(picture), move(mask)
        assert moved.shape[:2] == moved_mask.shape
        assert ((moved[..., 0] > 120) != (moved_mask > 0.5)).mean() < 0.01
        assert not np.array_equal(moved_mask, mask)
        assert np.array_equal(only(name, p=0.0).move((0, 0, place))(picture), picture)


def test_a_flip_is_a_mirror_and_a_part_is_cut_out_of_the_picture() -> None:
    picture = portrait()
    assert np.array_equal(only("flip").move((0, 0, 0))(picture), picture[:, ::-1])
    part = only("part").move((0, 0, 0))(picture)
    height, width = part.shape[:2]
    assert 0.7 * SIZE - 1 <= height < SIZE
    assert any(
        np.array_equal(part, picture[y : y + height, x : x + width])
        for y in range(SIZE - height + 1)
        for x in range(SIZE - width + 1)
    )


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of one shade each; the light ones are fake, everywhere."""
    shades = torch.tensor([40, 80, 120, 160, 200, 240], dtype=torch.uint8)
    labels = (shades > 100).float()
    return shades.view(-1, 1, 1, 1).repeat(1, SIZE, SIZE, 3), labels, labels.view(-1, 1, 1).repeat(1, 8, 8)


def test_mixup_lays_pictures_labels_and_masks_over_each_other_alike() -> None:
    before, after = batch(), only("mixup").mix(batch(), (0, 0, 0))
    assert torch.all((after[0].float().std((1, 2, 3))) == 0)
    assert not torch.equal(after[0], before[0])
    assert torch.allclose(after[2][:, 0, 0], after[1])
    assert after[0].float().mean() == pytest.approx(before[0].float().mean().item(), abs=1)
    assert after[1].mean() == pytest.approx(before[1].mean().item())


def test_cutmix_moves_a_rectangle_with_its_truth_and_counts_it_in_the_label() -> None:
    before, (pictures, labels, masks) = batch(), only("cutmix").mix(batch(), (0, 0, 0))
    shares = []
    for number in range(len(pictures)):
        other = pictures[number, :, :, 0] != before[0][number, :, :, 0]
        shares.append(other.float().mean().item())
        assert torch.equal(masks[number], (pictures[number, ::8, ::8, 0] > 100).float())
        assert labels[number] == pytest.approx(masks[number].mean().item(), abs=1e-6)
    assert 0 < max(shares) < 1


def test_a_self_blended_face_is_changed_inside_its_mask_only() -> None:
    changed_shares = []
    for place in range(12):
        forge = only("self_blend").forgery((0, 0, place))
        assert forge
        face = portrait(place)
        fake, mask = forge(face)
        difference = np.abs(fake.astype(int) - face).max(2)
        assert difference[~mask].max() <= 20  # where the copy is seen by a tenth at most
        assert difference[mask].mean() > 2 * difference[~mask].mean()
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()
        changed_shares.append(mask.mean())
    assert min(changed_shares) < 0.15 < 0.25 < max(changed_shares)  # now the mouth alone, now the whole face
    assert only("self_blend", p=0.0).forgery((0, 0, 0)) is None


def test_a_line_more_changes_nothing_of_what_the_others_do() -> None:
    picture, key = as_tensor(portrait()), (1, 2, 3)
    noisy = build_augmentation({"noise": {"p": 1.0, "most": 9.0}}).look(picture, key)
    both = build_augmentation({"blur": {"p": 0.0, "most": 9.0}, "noise": {"p": 1.0, "most": 9.0}}).look(picture, key)
    assert torch.equal(noisy, both)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ({"sparkle": {"p": 1.0}}, "augmentation.sparkle is not known; there are: flip, part"),
        ({"blur": {"p": 2.0, "most": 1.0}}, "augmentation.blur.p is 2.0; the most it can be is 1"),
        ({"blur": {"p": 0.5}}, "augmentation.blur.most is missing"),
    ],
)
def test_a_wrong_line_is_refused_in_words(lines: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        build_augmentation(lines)
