"""Augmentations: what each changes, and what it must not change."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import Project
from torch import Tensor

from explain_deepfakes.model_test_train.training.augmentations.augmentation import (
    FORGERIES,
    KINDS,
    Augmentation,
    build_augmentation,
)
from explain_deepfakes.model_test_train.training.augmentations.forgery import ForgedPair, Picture
from explain_deepfakes.model_test_train.training.augmentations.photometric import PHOTOMETRIC
from explain_deepfakes.model_test_train.training.augmentations.preview import PREVIEW_SETTINGS
from explain_deepfakes.model_test_train.training.augmentations.video_codecs import CODECS, Encoding, encode
from explain_deepfakes.model_test_train.training.data import forgery_probability
from explain_deepfakes.pipeline.errors import UserError

SIZE = 64


def only(name: str, p: float = 1.0) -> Augmentation:
    return build_augmentation({name: {"p": p, **PREVIEW_SETTINGS[name]}})


def portrait(seed: int = 0) -> np.ndarray:
    """A picture of coarse colours with fine noise, far from black and white."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(70, 180, (8, 8, 3)).repeat(SIZE // 8, 0).repeat(SIZE // 8, 1)
    return (coarse + rng.integers(-12, 13, (SIZE, SIZE, 3))).astype(np.uint8)


def as_tensor(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def augmented(name: str, picture: np.ndarray, key: int = 0) -> np.ndarray:
    return only(name).apply_photometric(as_tensor(picture), (0, 0, key))[0].permute(1, 2, 0).numpy()


def luma(picture: np.ndarray) -> np.ndarray:
    return picture @ np.array([0.299, 0.587, 0.114])


def neighbour_contrast(picture: np.ndarray) -> float:
    """Return the mean difference of neighbouring pixels."""
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


def test_every_augmentation_is_tested_here() -> None:
    assert set(PREVIEW_SETTINGS) == set(KINDS)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_a_photometric_augmentation_changes_the_picture_the_same_way_each_time_and_not_at_all_at_probability_zero(
    name: str,
) -> None:
    picture = as_tensor(portrait())
    changed, again = (only(name).apply_photometric(picture, (1, 2, 3)) for _ in range(2))
    assert changed.dtype == torch.uint8
    assert changed.shape == picture.shape
    assert not torch.equal(changed, picture)
    assert torch.equal(changed, again)
    assert torch.equal(only(name, p=0.0).apply_photometric(picture, (1, 2, 3)), picture)


@pytest.mark.parametrize("name", sorted(set(PHOTOMETRIC) - {"grid_mask"}))
def test_a_photometric_augmentation_takes_pictures_of_any_size(name: str) -> None:
    for height, width in [(37, 51), (64, 33), (9, 9)]:
        picture = cv2.resize(portrait(), (width, height))
        assert augmented(name, picture).shape == picture.shape


@pytest.mark.parametrize("name", ["hue", "grey", "blur", "sharpen", "jpeg", "downscale", "resize", "codec"])
def test_of_a_flat_grey_picture_nothing_is_to_be_changed(name: str) -> None:
    flat = np.full((SIZE, SIZE, 3), 120, np.uint8)
    assert np.abs(augmented(name, flat).astype(int) - flat).max() <= (3 if name == "codec" else 1)  # video has fewer levels


def test_brightness_changes_all_by_one_factor() -> None:
    picture = portrait()
    factors = augmented("brightness", picture) / picture
    assert factors.std() < 0.01
    assert abs(factors.mean() - 1) > 0.02


def test_contrast_leaves_the_mean_alone() -> None:
    picture = portrait()
    changed = augmented("contrast", picture)
    assert luma(changed).mean() == pytest.approx(luma(picture).mean(), abs=1)
    assert abs(changed.std() / picture.std() - 1) > 0.02


def test_hue_leaves_the_lightest_and_the_darkest_channel_as_light_and_dark() -> None:
    picture = portrait()
    changed = augmented("hue", picture)
    assert np.abs(changed.max(2).astype(int) - picture.max(2)).max() <= 2
    assert np.abs(changed.min(2).astype(int) - picture.min(2)).max() <= 2
    assert np.abs(changed.astype(int) - picture).mean() > 5


def test_grey_has_no_colour_and_the_same_light() -> None:
    picture = portrait()
    changed = augmented("grey", picture)
    assert np.ptp(changed, axis=2).max() == 0
    assert np.abs(luma(changed) - luma(picture)).max() < 1.5


def test_pca_colour_shifts_all_pixels_alike() -> None:
    shift = augmented("pca_colour", portrait()).astype(int) - portrait()
    assert np.ptp(shift, axis=(0, 1)).max() <= 1
    assert np.abs(shift).max() > 1


def test_gamma_changes_the_middle_tones_and_leaves_black_and_white_alone() -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)[None, :, None].repeat(8, 0).repeat(3, 2)
    changed = augmented("gamma", ramp)
    assert (changed[0, 0, 0], changed[0, -1, 0]) == (0, 255)
    assert (np.diff(changed[0, :, 0].astype(int)) >= 0).all()
    assert abs(int(changed[0, 128, 0]) - 128) > 5


def test_white_balance_changes_each_channel_by_a_factor_and_the_light_little() -> None:
    picture = np.full((8, 8, 3), 120, np.uint8)
    changed = augmented("white_balance", picture)
    assert np.ptp(changed[0, 0]) > 5
    assert changed.mean() == pytest.approx(120, abs=1)


def test_sharpening_makes_neighbours_differ_more_and_leaves_the_mean_alone() -> None:
    picture = portrait()
    changed = augmented("sharpen", picture)
    assert neighbour_contrast(changed) > 1.1 * neighbour_contrast(picture)
    assert changed.mean() == pytest.approx(picture.mean(), abs=1)


def test_noise_has_no_mean_and_no_pattern() -> None:
    noise = augmented("noise", portrait()).astype(float) - portrait()
    assert abs(noise.mean()) < 0.5
    assert noise.std() > 1
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.05


def test_noise_of_frequencies_leaves_the_mean_alone_and_is_stronger_where_the_picture_is() -> None:
    picture = portrait()
    assert np.allclose(augmented("dct_noise", picture).mean((0, 1)), picture.mean((0, 1)), atol=0.5)
    quiet = np.full((SIZE, SIZE, 3), 120, np.uint8)
    assert np.array_equal(augmented("dct_noise", quiet), quiet)


@pytest.mark.parametrize("name", ["blur", "jpeg", "downscale", "codec"])
def test_what_takes_detail_away_leaves_the_large_alone(name: str) -> None:
    picture = portrait()
    changed = augmented(name, picture)
    assert neighbour_contrast(changed) < 0.95 * neighbour_contrast(picture)
    assert changed.mean() == pytest.approx(picture.mean(), abs=3 if name == "codec" else 1.5)  # video codecs round colours down


def test_the_grid_hides_squares_and_nothing_else() -> None:
    picture = portrait()
    changed = augmented("grid_mask", picture)
    hidden = (changed == 127).all(2)
    assert 0.1 < hidden.mean() < 0.5
    assert np.array_equal(changed[~hidden], picture[~hidden])
    assert {tuple(row) for row in hidden} == {tuple(row) for row in hidden if row.any()} | {(False,) * SIZE}


@pytest.mark.parametrize("name", ["flip", "part", "rotate"])
def test_what_moves_a_picture_moves_its_mask_alike(name: str) -> None:
    """The mask covers the light part of the picture, before and after."""
    picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
    picture[10:30, 8:40] = 200
    mask = (picture[..., 0] > 100).astype(np.float32)
    for position in range(5):
        move = only(name).draw_geometric((0, 0, position))
        moved, moved_mask = move(picture), move(mask)
        assert moved.shape[:2] == moved_mask.shape
        assert ((moved[..., 0] > 120) != (moved_mask > 0.5)).mean() < 0.01
        assert not np.array_equal(moved_mask, mask)
        assert np.array_equal(only(name, p=0.0).draw_geometric((0, 0, position))(picture), picture)


def test_a_flip_is_a_mirror_and_a_part_is_cut_out_of_the_picture() -> None:
    picture = portrait()
    assert np.array_equal(only("flip").draw_geometric((0, 0, 0))(picture), picture[:, ::-1])
    window = only("part").draw_geometric((0, 0, 0))(picture)
    height, width = window.shape[:2]
    assert 0.7 * SIZE - 1 <= height < SIZE
    assert any(
        np.array_equal(window, picture[y : y + height, x : x + width])
        for y in range(SIZE - height + 1)
        for x in range(SIZE - width + 1)
    )


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of one shade each; the light ones are fake in every pixel."""
    shades = torch.tensor([40, 80, 120, 160, 200, 240], dtype=torch.uint8)
    labels = (shades > 100).float()
    return shades.view(-1, 1, 1, 1).repeat(1, SIZE, SIZE, 3), labels, labels.view(-1, 1, 1).repeat(1, 8, 8)


def test_mixup_lays_pictures_labels_and_masks_over_each_other_alike() -> None:
    before, after = batch(), only("mixup").apply_mixing(batch(), (0, 0, 0))
    assert torch.all((after[0].float().std((1, 2, 3))) == 0)
    assert not torch.equal(after[0], before[0])
    assert torch.allclose(after[2][:, 0, 0], after[1])
    assert after[0].float().mean() == pytest.approx(before[0].float().mean().item(), abs=1)
    assert after[1].mean() == pytest.approx(before[1].mean().item())


def test_cutmix_moves_a_rectangle_with_its_truth_and_counts_it_in_the_label() -> None:
    before, (pictures, labels, masks) = batch(), only("cutmix").apply_mixing(batch(), (0, 0, 0))
    shares = []
    for number in range(len(pictures)):
        is_pasted = pictures[number, :, :, 0] != before[0][number, :, :, 0]
        shares.append(is_pasted.float().mean().item())
        assert torch.equal(masks[number], (pictures[number, ::8, ::8, 0] > 100).float())
        assert labels[number] == pytest.approx(masks[number].mean().item(), abs=1e-6)
    assert 0 < max(shares) < 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("motion", [None, (1.5, -0.5)])
def test_a_codec_loses_more_at_a_higher_crf_and_nothing_moves(codec: str, motion: tuple[float, float] | None) -> None:
    picture = cv2.GaussianBlur(portrait(), (0, 0), 1.5)
    errors = []
    for crf in (18, 40):
        encoding = Encoding(codec, crf, corner=(5, 3), motion=motion)
        changed = encode(picture, encoding)
        assert (changed.dtype, changed.shape) == (np.uint8, picture.shape)
        assert np.array_equal(changed, encode(picture, encoding))
        errors.append(np.abs(changed.astype(int) - picture).mean())
    assert 0 < 2 * errors[0] < errors[1] < 15


def test_the_pictures_of_a_group_are_encoded_alike_and_each_by_itself() -> None:
    """Otherwise traces of the original would give the fake away."""
    first, second = portrait(0), portrait(1)
    for key in range(8):
        encode = lambda *pictures: only("codec").apply_photometric(as_tensor(*pictures), (0, 0, key))  # noqa: B023, E731
        together = encode(first, second, first)
        assert torch.equal(together[0], together[2])
        assert torch.equal(together[:1], encode(first))
        assert torch.equal(together[1:2], encode(second))


def test_codecs_and_their_strengths_differ_from_group_to_group() -> None:
    drawn = [Encoding.draw(np.random.default_rng(seed), 20, 36, 0.5) for seed in range(80)]
    assert {encoding.codec for encoding in drawn} == set(CODECS)
    assert {encoding.motion is None for encoding in drawn} == {True, False}
    assert all(20 <= encoding.crf <= 36 and 0.5 <= encoding.share <= 1 for encoding in drawn)
    assert len({encoding.crf for encoding in drawn}) > 10


def test_a_codec_of_no_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"codec\.best is 40; it must not be above worst, 20"):
        build_augmentation({"codec": {"p": 1.0, "best": 40, "worst": 20, "least": 1.0, "twice": 0.0}})


def forgeries(settings: dict[str, dict[str, float]], picture: Picture, count: int = 12) -> list[ForgedPair]:
    augmentation = build_augmentation(settings)
    pairs = [forge(picture) for position in range(count) if (forge := augmentation.draw_forgery((0, 0, position)))]
    assert len(pairs) == count
    return pairs


def difference(first: Picture, second: Picture) -> np.ndarray:
    return np.abs(first.astype(int) - second).max(2)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_face_differs_from_its_real_one_inside_the_mask_only(name: str) -> None:
    changed_shares = []
    for real, fake, mask in forgeries({name: {"p": 1.0, **PREVIEW_SETTINGS[name]}}, portrait()):
        assert (fake.dtype, fake.shape, mask.shape) == (np.uint8, real.shape, real.shape[:2])
        changed = difference(fake, real)
        assert changed[~mask].max() <= 20  # where the new content has a weight of at most a tenth
        assert changed[mask].mean() > 2 * changed[~mask].mean()
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()
        changed_shares.append(mask.mean())
    assert min(changed_shares) < 0.15 < 0.2 < max(changed_shares)  # sometimes only the mouth, sometimes the entire face
    assert only(name, p=0.0).draw_forgery((0, 0, 0)) is None


@pytest.mark.parametrize("name", FORGERIES)
def test_the_same_forgery_is_made_each_time_and_of_crops_of_any_shape(name: str) -> None:
    for height, width in [(64, 64), (51, 37), (32, 65)]:
        picture = cv2.resize(portrait(), (width, height))
        settings = {name: {"p": 1.0, **PREVIEW_SETTINGS[name]}}
        for pair, repeated in zip(forgeries(settings, picture, 4), forgeries(settings, picture, 4), strict=True):
            assert all(np.array_equal(*both) for both in zip(pair, repeated, strict=True))
            assert pair.fake.shape == picture.shape


def test_self_blending_changes_the_real_face_in_half_of_the_cases() -> None:
    """Otherwise the processing itself would be a sign of a fake."""
    is_changed = [not np.array_equal(pair.real, portrait()) for pair in forgeries({"self_blend": BLEND}, portrait(), 60)]
    assert 20 <= sum(is_changed) <= 40


BLEND = {"p": 1.0, "shift": 0.03, "colour": 0.1}
NO_CHANGE = {"sharpness": 0, "resolution": 0, "compression": 0}
NO_BLEND = {**BLEND, **NO_CHANGE, "shift": 0, "colour": 0}
NO_RENDERING = {"p": 1.0, "warp": 0, "resolution": 0, "denoise": 0, "sharpness": 0, "colour": 0}


@pytest.mark.parametrize(
    ("name", "disabled", "ingredients"),
    [
        ("self_blend", NO_BLEND, {"shift": 0.03, "colour": 0.1, "sharpness": 1, "resolution": 0.7, "compression": 0.6}),
        ("rerender", NO_RENDERING, {"warp": 0.02, "resolution": 0.7, "denoise": 1, "sharpness": 1, "colour": 0.1}),
    ],
)
def test_each_ingredient_can_be_switched_off(name: str, disabled: dict[str, float], ingredients: dict[str, float]) -> None:
    picture = portrait()
    assert all(np.array_equal(pair.fake, picture) for pair in forgeries({name: disabled}, picture))
    for ingredient, strength in ingredients.items():
        pairs = forgeries({name: {**disabled, ingredient: strength}}, picture)
        assert any(difference(pair.fake, pair.real).max() > 3 for pair in pairs), ingredient


def test_without_hard_edges_a_face_is_blended_softly() -> None:
    picture = np.full((128, 128, 3), 120, np.uint8)
    steepest = {
        hard: [
            np.diff(difference(pair.fake, pair.real), axis=1).max() / max(1, difference(pair.fake, pair.real).max())
            for pair in forgeries({"self_blend": {**BLEND, **NO_CHANGE, "hard_edges": hard}}, picture)
        ]
        for hard in (0.0, 1.0)
    }
    assert max(steepest[0.0]) < 0.45 < np.median(steepest[1.0])


def test_without_elastic_deformation_the_outline_of_the_mask_is_convex() -> None:
    def hollow(elastic: float) -> float:
        """Return the share of the masks' convex hulls that is not mask."""
        shares = []
        for pair in forgeries(
            {"self_blend": {**BLEND, "elastic": elastic, "hard_edges": 1.0}}, cv2.resize(portrait(), (256, 256))
        ):
            (outline, *_), _ = cv2.findContours(pair.changed.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            shares.append(1 - cv2.contourArea(outline) / cv2.contourArea(cv2.convexHull(outline)))
        return float(np.mean(shares))

    assert hollow(0.0) < 0.02 < 0.03 < hollow(0.02)


def test_a_group_is_forged_once_at_most_by_the_first_kind_that_happens() -> None:
    both = build_augmentation({"rerender": {"p": 0.4}, "self_blend": {**BLEND, "p": 0.5}})
    apart = [build_augmentation({name: line}) for name, line in (("rerender", {"p": 0.4}), ("self_blend", {**BLEND, "p": 0.5}))]
    happened, picture = 0, portrait()
    for position in range(200):
        forge, *separate = (augmentation.draw_forgery((0, 0, position)) for augmentation in (both, *apart))
        first = next((candidate for candidate in separate if candidate), None)
        assert (forge is None) == (first is None)
        if forge and first and position < 40:
            assert np.array_equal(forge(picture).fake, first(picture).fake)
        happened += forge is not None
    assert forgery_probability(both) == pytest.approx(1 - 0.6 * 0.5)
    assert happened / 200 == pytest.approx(forgery_probability(both), abs=0.1)


def test_a_line_more_changes_nothing_of_what_the_others_do() -> None:
    picture, key = as_tensor(portrait()), (1, 2, 3)
    noisy = build_augmentation({"noise": {"p": 1.0, "most": 9.0}}).apply_photometric(picture, key)
    both = build_augmentation({"blur": {"p": 0.0, "most": 9.0}, "noise": {"p": 1.0, "most": 9.0}}).apply_photometric(
        picture, key
    )
    assert torch.equal(noisy, both)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparkle": {"p": 1.0}}, "augmentation.sparkle is not known; choose from: flip, part"),
        ({"blur": {"p": 2.0, "most": 1.0}}, "augmentation.blur.p is 2.0; the maximum is 1"),
        ({"blur": {"p": 0.5}}, "augmentation.blur.most is missing"),
    ],
)
def test_a_wrong_line_is_refused_in_words(settings: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_augmentation(settings)


def test_the_preview_shows_every_augmentation(finished: Project, tmp_path: Path) -> None:
    finished.stage("model_test_train/preview_augmentations.py", "--output", tmp_path / "preview.png")
    rows = np.array_split(cv2.imread(str(tmp_path / "preview.png")).astype(int), len(KINDS))
    assert all(np.abs(row - row.mean()).mean() > 10 for row in rows)
