"""Boxes are read back as written, invalid files are named, and a window crops the face from any frame."""

import json
from array import array

import numpy as np
import pytest

from explain_deepfakes.preprocessing.crops.crops import Window, compute_window, crop_image, is_plausible_box
from explain_deepfakes.preprocessing.crops.extraction import select_faces
from explain_deepfakes.preprocessing.crops.params import UNALIGNED, CropSettings
from explain_deepfakes.preprocessing.faces.boxes import BadBoxes, Boxes, read_boxes, write_boxes
from explain_deepfakes.preprocessing.faces.face import Face
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace
from explain_deepfakes.preprocessing.video.video import VideoFacts

FACE = Face((10.13, 20.0, 60.0, 90.5), 0.9988, array("d", [20.11, 30.0] * 5))
OURS = {"video": "v", "width": 9, "height": 9, "frame_rate": 9, "frames_promised": 9, "frames_present": 9, "looked_at": [0]}
SOMEBODY = {"box": [1, 2, 30, 40], "score": 1.0, "landmarks": [], "track": 0}
ONE_PERSON_TWICE = json.dumps({**OURS, "detector": {}, "frames": {"0": [SOMEBODY, SOMEBODY]}})
PICTURE = np.arange(80 * 100 * 3, dtype=np.uint32).reshape(80, 100, 3).astype(np.uint8)


def test_boxes_are_read_as_they_were_written(tmp_path):
    facts = VideoFacts(640, 480, 29.97, None, 31)
    boxes = Boxes({3: [TrackedFace(FACE, 0)]}, "Deepfakes/000_003", facts, [3, 11], {"detector": "mtcnn"})
    write_boxes(tmp_path / "Deepfakes/000_003.json", boxes)
    read = read_boxes(tmp_path / "Deepfakes/000_003.json")
    assert read == Boxes({3: [TrackedFace(FACE, 0)]}, boxes.video, facts, [3, 11], boxes.detector)
    plain = json.loads((tmp_path / "Deepfakes/000_003.json").read_text())
    assert plain["frames"]["3"][0]["box"] == [10.13, 20.0, 60.0, 90.5]
    assert (plain["width"], plain["height"], plain["frames_promised"], plain["frames_present"]) == (640, 480, None, 31)


def test_boxes_of_the_published_scripts_are_read_at_full_size(tmp_path):
    path = tmp_path / "000.json"
    path.write_text('{"0": [[5, 10, 25, 40], [50.5, 10, 70, 40]], "1": null, "7": [[6, 10, 26, 40]]}')
    boxes = read_boxes(path)
    assert boxes.analysed_frames == [0, 1, 7]
    assert {index: [(tracked.face.box, tracked.track) for tracked in faces] for index, faces in boxes.frames.items()} == {
        0: [((10, 20, 50, 80), 0), ((101, 20, 140, 80), 1)],
        7: [((12, 20, 52, 80), 0)],
    }


def test_a_person_keeps_one_number_through_published_boxes_whatever_their_order(tmp_path):
    """Two people side by side, the left one a little larger; the order of the list changes, and one person is missed once."""
    path = tmp_path / "000.json"
    left, right = [[5 + i, 10, 30 + i, 42] for i in range(6)], [[70 - i, 10, 92 - i, 40] for i in range(6)]
    frames = {i: [left[i], right[i]][:: 1 if i % 2 else -1] for i in range(6)}
    frames[3] = [left[3]]
    path.write_text(json.dumps(frames))
    boxes = read_boxes(path)
    assert len(boxes.frames) == 6
    for index, faces in boxes.frames.items():
        left_edges = {tracked.track: tracked.face.box[0] for tracked in faces}
        assert left_edges == ({0: 10 + 2 * index} if index == 3 else {0: 10 + 2 * index, 1: 140 - 2 * index})


def test_published_boxes_one_list_deeper_are_the_same_boxes(tmp_path):
    plain, deeper = tmp_path / "000.json", tmp_path / "001.json"
    plain.write_text('{"0": [[5, 10, 25, 40], [50, 10, 70, 40]], "1": null, "2": []}')
    deeper.write_text('{"0": [[[5, 10, 25, 40], [50, 10, 70, 40]]], "1": null, "2": []}')
    assert read_boxes(deeper) == read_boxes(plain)
    assert len(read_boxes(plain).frames[0]) == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"0": [[1, 2, 3]]}',
        '{"0": [[5, 5, 1, 9]]}',
        '{"first": [[1, 2, 3, 4]]}',
        '{"frames": {}}',
        '{"0": [["a", 2, 3, 4]]}',
        '{"0": [[1, 2, NaN, 4]]}',
        '{"0": 5}',
        '{"0": [[]]}',
        '{"0": [[1, 2, 1, 4]]}',
        '{"0": [[0, 0, 1e300, 1e300]]}',
        '{"0": [[1, 2, 3, 1' + 400 * "0" + "]]}",
        "[" * 100_000,
        ONE_PERSON_TWICE,
    ],
)
def test_a_file_without_proper_boxes_is_named(tmp_path, content):
    path = tmp_path / "000.json"
    path.write_text(content)
    with pytest.raises(BadBoxes, match=r"000\.json"):
        read_boxes(path)


@pytest.mark.parametrize("box", [(20.3, 10.0, 49.8, 50.2), (-8.0, 5.0, 20.0, 45.0), (80.0, 60.0, 120.0, 90.0)])
def test_a_square_crop_is_square_and_keeps_the_face_in_its_middle(box):
    window = compute_window(box, margin=0.25, square=True, width=100, height=80)
    x0, y0, x1, y1 = window[:4]
    assert x1 - x0 == y1 - y0 == round(1.5 * max(box[2] - box[0], box[3] - box[1]))
    assert abs((x0 + x1) / 2 - (box[0] + box[2]) / 2) <= 0.75
    assert abs((y0 + y1) / 2 - (box[1] + box[3]) / 2) <= 0.75
    crop = crop_image(PICTURE, window)
    assert crop.shape == (y1 - y0, x1 - x0, 3)
    middle = round((y0 + y1) / 2), round((x0 + x1) / 2)
    expected = PICTURE[min(middle[0], 79), min(middle[1], 99)]
    assert (crop[middle[0] - y0, middle[1] - x0] == expected).all()


def test_beyond_the_edge_the_edges_pixels_are_repeated():
    crop = crop_image(PICTURE, Window(-3, 76, 5, 84))
    assert (crop[:4, 3:] == PICTURE[76:80, 0:5]).all()
    assert (crop[:, :3] == crop[:, 3:4]).all()
    assert (crop[4:] == crop[3:4]).all()


def test_a_crop_that_is_not_square_stays_within_the_frame():
    assert compute_window((30, 20, 50, 60), 0.0, square=False, width=100, height=80) == Window(30, 20, 50, 60)
    assert compute_window((30, 20, 50, 60), 0.5, square=False, width=100, height=70) == Window(20, 0, 60, 70)


def test_the_same_window_cuts_a_mask_of_one_channel():
    window = Window(-2, 5, 10, 17)
    assert (crop_image(PICTURE[..., 0], window) == crop_image(PICTURE, window)[..., 0]).all()


@pytest.mark.parametrize("box", [(-900, 5, -1, 45), (100, 5, 130, 45), (5, 80, 20, 99), (5, 5, 206, 40), (5, -90, 20, 71)])
def test_what_lies_beside_the_picture_or_is_many_times_as_large_is_no_face(box):
    assert not is_plausible_box(box, 100, 80)


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize("box", [(-8, 5, 20, 45), (99, 79, 130, 120), (-30, -30, 1, 1), (-40, -40, 160, 120)])
def test_what_reaches_over_the_edge_is_cut_and_no_margin_makes_it_huge(box, square):
    assert is_plausible_box(box, 100, 80)
    for margin in (0.0, 0.15, 900.0):
        crop = crop_image(PICTURE, compute_window(box, margin, square, 100, 80))
        assert crop.size
        assert max(crop.shape) <= 200


def settings(**changes):
    known = {"margin": 0.0, "square": True, "min_size": 32, "people": "all", "frames": None, "format": "png", "quality": 95}
    return CropSettings(**{**known, **UNALIGNED, **changes})


def test_small_faces_and_on_demand_all_but_the_main_person_are_left_out():
    large, small = Face((0, 0, 40, 50), 1.0), Face((0, 0, 40, 31.9), 1.0)
    frames = {1: [TrackedFace(large, 0), TrackedFace(large, 1), TrackedFace(small, 2)], 2: [TrackedFace(large, 1)]}
    assert {index: [tracked.track for tracked in faces] for index, faces in select_faces(frames, settings()).items()} == {
        1: [0, 1],
        2: [1],
    }
    assert select_faces(frames, settings(people="main")) == {1: [TrackedFace(large, 0)]}


def test_of_many_frames_with_faces_as_many_as_wanted_are_taken_from_all_over_the_video():
    large, small = Face((0, 0, 40, 50), 1.0), Face((0, 0, 40, 31.9), 1.0)
    frames = {index: [TrackedFace(large if index % 2 else small, 0)] for index in range(200)}
    assert list(select_faces(frames, settings(frames=4))) == [25, 75, 125, 175]
    assert len(select_faces(frames, settings(frames=101))) == len(select_faces(frames, settings())) == 100
    assert select_faces({}, settings(frames=4)) == {}
