"""The detector finds the same faces as facenet-pytorch's MTCNN, and finds a known face again without a search."""

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from little_videos import draw_face
from PIL import Image
from torchvision.ops import batched_nms as torchvision_nms

from explain_deepfakes.preprocessing.faces.face import Box, Face, iou
from explain_deepfakes.preprocessing.faces.face_detector import DETECTORS, FaceDetector, FaceDetectorSettings
from explain_deepfakes.preprocessing.faces.mtcnn_networks import load_networks
from explain_deepfakes.preprocessing.faces.nms import batched_nms
from explain_deepfakes.preprocessing.video.video import Picture

THRESHOLDS = (0.85, 0.95, 0.95)
SIZE = (240, 320, 3)
PLACES = ([(160, 120, 40)], [(90, 100, 40), (240, 140, 50)], [(70, 60, 24), (250, 170, 34), (160, 100, 45)], [])


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return DETECTORS["mtcnn"](FaceDetectorSettings("mtcnn", 20, 960, THRESHOLDS), "cpu")


def picture_of(positions: list[tuple[int, int, int]]) -> Picture:
    picture = np.random.default_rng(0).normal(110, 6, SIZE).clip(0, 255).astype(np.uint8)
    for x, y, half in positions:
        picture = draw_face(picture, x, y, half)
    return picture


@pytest.mark.parametrize("positions", PLACES, ids=len)
def test_it_finds_the_faces_that_facenet_pytorch_finds_and_no_others(detector: FaceDetector, positions: list) -> None:
    picture = picture_of(positions)
    theirs = MTCNN(thresholds=list(THRESHOLDS), keep_all=True).detect(Image.fromarray(picture))[0]
    boxes: list[Box] = [] if theirs is None else [(x0, y0, x1, y1) for x0, y0, x1, y1 in theirs.tolist()]
    (ours,) = detector.detect([picture])
    assert len(ours) == len(boxes) == len(positions)
    assert all(max(iou(face.box, box) for face in ours) > 0.85 for box in boxes)


def test_landmarks_lie_in_the_face_with_the_eyes_above_the_mouth(detector: FaceDetector) -> None:
    ((face,),) = detector.detect([picture_of(PLACES[0])])
    x0, y0, x1, y1 = face.box
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in face.points())
    left_eye, right_eye, nose, *mouth = face.points()
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(corner[1] for corner in mouth)


@pytest.mark.parametrize(("right", "larger"), [(0, 1.0), (12, 1.0), (-15, 1.15), (0, 0.8)])
def test_a_face_is_found_again_where_the_search_finds_it(detector: FaceDetector, right: float, larger: float) -> None:
    picture = picture_of(PLACES[1])
    for face in detector.detect([picture])[0]:
        (again,) = detector.redetect([picture], [moved(face, right, larger)])
        assert again is not None
        assert iou(again.box, face.box) > 0.8


def test_where_nobody_is_nobody_is_found_again(detector: FaceDetector) -> None:
    empty, with_face = picture_of([]), picture_of(PLACES[0])
    assert detector.redetect([empty, with_face], [(130.0, 90.0, 190.0, 150.0), (2.0, 180.0, 42.0, 230.0)]) == [None, None]


def test_many_pictures_give_what_each_gives_alone(detector: FaceDetector) -> None:
    pictures = [picture_of(positions) for positions in PLACES]
    assert detector.detect(pictures) == [detector.detect([picture])[0] for picture in pictures]


def test_a_picture_too_small_for_any_face_is_no_trouble(detector: FaceDetector) -> None:
    tiny = np.zeros((9, 30, 3), np.uint8)
    assert detector.detect([tiny]) == [[]]
    assert detector.redetect([tiny], [(1.0, 1.0, 8.0, 8.0)]) == [None]


def moved(face: Face, right: float, larger: float) -> Box:
    x0, y0, x1, y1 = face.box
    margin_x, margin_y = (larger - 1) / 2 * (x1 - x0), (larger - 1) / 2 * (y1 - y0)
    return x0 + right - margin_x, y0 - margin_y, x1 + right + margin_x, y1 + margin_y


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_the_networks_are_those_of_facenet_pytorch(name: str) -> None:
    ours = dict(zip(("pnet", "rnet", "onet"), load_networks(torch.device("cpu")), strict=True))[name]
    side = {"pnet": 60, "rnet": 24, "onet": 48}[name]
    pictures = torch.rand((5, 3, side, side), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert all(map(torch.equal, ours(pictures), getattr(MTCNN(device="cpu"), name)(pictures)))


@pytest.mark.parametrize(("count", "pictures"), [(0, 1), (1, 1), (300, 1), (900, 4), (1500, 1), (1500, 3)])
def test_boxes_are_suppressed_as_by_torchvision(count: int, pictures: int) -> None:
    rng = np.random.default_rng(count)
    corners, sides = rng.uniform(0, 300, (count, 2)), rng.uniform(10, 80, (count, 2))
    boxes = torch.from_numpy(np.hstack([corners, corners + sides]).astype(np.float32))
    scores = torch.from_numpy((rng.integers(0, 50, count) / 50).astype(np.float32))  # with ties
    owners = torch.from_numpy(rng.integers(0, pictures, count))
    for threshold in (0.5, 0.7):
        assert torch.equal(batched_nms(boxes, scores, owners, threshold), torchvision_nms(boxes, scores, owners, threshold))
