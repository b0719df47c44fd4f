"""Aligned crops: landmarks come to where the template has them, and positions in the crop can be found in the frame again."""

import cv2
import numpy as np
import pytest

from explain_deepfakes.explain_model.figures.over_time import blend_heat, interpolate_window
from explain_deepfakes.preprocessing.crops.alignment import TEMPLATES, align_window, estimate_least_squares
from explain_deepfakes.preprocessing.crops.crops import Window, crop_image

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


def moved(points: np.ndarray, zoom: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return zoom * points @ rotation.T + np.array(shift)


@pytest.mark.parametrize("template", sorted(TEMPLATES))
@pytest.mark.parametrize(("zoom", "degrees", "shift"), [(1.0, 0.0, (0, 0)), (2.5, 30.0, (200, 80)), (0.4, -75.0, (50, 300))])
def test_landmarks_come_to_the_positions_of_the_template(
    template: str, zoom: float, degrees: float, shift: tuple[float, float]
) -> None:
    landmarks = moved(100 * TEMPLATES[template].points, zoom, degrees, shift)
    window = align_window([tuple(point) for point in landmarks], template, 1.3, 256)
    in_crop = landmarks @ window.to_crop()[:, :2].T + window.to_crop()[:, 2]
    expected = 256 * (TEMPLATES[template].points + 0.15) / 1.3
    assert np.abs(in_crop - expected).max() < 1e-3
    corners = window.corners() @ window.to_crop()[:, :2].T + window.to_crop()[:, 2]
    assert np.abs(corners - [[0, 0], [256, 0], [256, 256], [0, 256]]).max() < 1e-3


def test_the_least_squares_transform_is_that_of_opencv_without_outliers() -> None:
    points = ARCFACE + np.random.default_rng(0).normal(0, 3, ARCFACE.shape)
    ours = estimate_least_squares(points, ARCFACE)
    error = np.square(points @ ours[:, :2].T + ours[:, 2] - ARCFACE).sum()
    for _ in range(50):  # no small change makes it better
        a, b, x, y = np.random.default_rng(_).normal(0, 0.01, 4)
        other = ours + [[a, -b, x], [b, a, y]]
        assert np.square(points @ other[:, :2].T + other[:, 2] - ARCFACE).sum() >= error


def test_a_wrong_landmark_does_not_move_a_crop_that_ignores_outliers() -> None:
    points = 200 * TEMPLATES["gend5"].points
    wrong = points.copy()
    wrong[4] += 60
    good, bad = (align_window([tuple(p) for p in each], "gend5", 1.3, 200) for each in (points, wrong))
    assert np.abs(good.to_crop() - bad.to_crop()).max() < 1e-3


def test_without_a_size_a_crop_has_as_many_pixels_as_the_face() -> None:
    landmarks = [tuple(point) for point in moved(100 * TEMPLATES["gend5"].points, 3.0, 20.0, (100, 100))]
    window = align_window(landmarks, "gend5", 1.3, None)
    assert window.side == 390
    assert window.x1 - window.x0 == pytest.approx(390, abs=0.5)


def test_an_aligned_crop_shows_the_face_upright_and_its_heat_lies_where_the_face_is() -> None:
    frame = np.zeros((300, 400, 3), np.uint8)
    landmarks = moved(ARCFACE, 1.5, 40.0, (200, 60))
    for x, y in landmarks:
        cv2.circle(frame, (round(x), round(y)), 3, (255, 255, 255), -1)
    window = align_window([tuple(point) for point in landmarks], "arcface5", 1.0, 112)
    crop = crop_image(frame, window)
    assert crop.shape == (112, 112, 3)
    assert all(crop[round(y), round(x), 0] > 100 for x, y in ARCFACE)
    heat = np.zeros((112, 112), np.float32)
    heat[46:58, 32:45] = 1  # around the eye that is left in the picture
    shown = frame.copy()
    blend_heat(shown, heat, window, 1.0)
    changed = np.abs(shown.astype(int) - frame).sum(2)
    eye, nose = (np.round(landmarks[number]).astype(int) for number in (0, 2))
    assert changed[eye[1] - 4, eye[0] - 4] > changed[nose[1] - 6, nose[0] - 6]


def test_between_two_frames_the_window_turns_with_the_face() -> None:
    first, second = Window(0.0, 0.0, 10.0, 10.0, 10.0, 112), Window(10.0, 0.0, 20.0, 10.0, 30.0, 112)
    assert interpolate_window(first, second, 0.5) == Window(5.0, 0.0, 15.0, 10.0, 20.0, 112)
    assert interpolate_window(Window(0, 0, 3, 3), Window(1, 1, 4, 4), 0.6) == Window(1, 1, 4, 4)
