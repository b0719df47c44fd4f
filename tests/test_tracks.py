"""Each person keeps one track number throughout a video."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from explain_deepfakes.preprocessing.faces.assignment import lowest_cost_pairs
from explain_deepfakes.preprocessing.faces.face import Face
from explain_deepfakes.preprocessing.faces.params import TrackSettings
from explain_deepfakes.preprocessing.faces.tracks import track_faces

SETTINGS = TrackSettings(min_track_share=0.15, max_track_gap=4)
LOOKED_AT = list(range(5, 165, 10))


def face(x: float, y: float = 100, size: float = 60, score: float = 0.99) -> Face:
    return Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), score)


def tracks_of(faces: list[list[Face]], settings: TrackSettings = SETTINGS) -> list[dict[float, int]]:
    """Return for each frame the track number of the face centred at x."""
    tracked = track_faces(zip(LOOKED_AT, faces, strict=False), settings)
    return [
        {
            (tracked_face.face.box[0] + tracked_face.face.box[2]) / 2: tracked_face.track
            for tracked_face in tracked.get(index, ())
        }
        for index in LOOKED_AT[: len(faces)]
    ]


def test_the_largest_person_is_number_0_whatever_the_order_of_detection():
    small_first = [face(300, size=40), face(100, size=80)]
    frames = [small_first, small_first[::-1]] * 4
    assert all(tracks == {100: 0, 300: 1} for tracks in tracks_of(frames))


@pytest.mark.parametrize("hidden", [(), (7, 8)], ids=["both seen", "one hides the other"])
def test_crossing_people_keep_their_numbers(hidden):
    to_right = [face(100 + 25 * step, y=100, size=64) for step in range(16)]
    to_left = [face(490 - 25 * step, y=110, size=58) for step in range(16)]
    frames = [[left, right] for left, right in zip(to_left, to_right, strict=True)]
    for step in hidden:
        frames[step] = [to_right[step]]
    for step, tracks in enumerate(tracks_of(frames)):
        assert tracks[100 + 25 * step] == 0
        assert step in hidden or tracks[490 - 25 * step] == 1


def test_short_misses_do_not_end_a_track():
    frames = [[face(100 + 10 * step)] if step not in (4, 5, 9) else [] for step in range(16)]
    assert {number for tracks in tracks_of(frames) for number in tracks.values()} == {0}


def test_a_person_who_leaves_and_one_who_comes_elsewhere_are_two():
    frames = [[face(100)]] * 8 + [[face(400)]] * 8
    assert tracks_of(frames)[0] == {100: 0}
    assert tracks_of(frames)[-1] == {400: 1}


def test_a_person_missed_for_longer_than_the_gap_comes_back_as_another():
    frames = [[face(100)]] * 6 + [[]] * 5 + [[face(100)]] * 5
    assert tracks_of(frames)[-1] == {100: 1}
    assert tracks_of(frames, TrackSettings(0.15, 5))[-1] == {100: 0}


def test_who_was_seen_once_is_not_taken_for_who_comes_three_frames_later():
    frames = [[face(100)], [], [], []] + [[face(150)]] * 12
    assert tracks_of(frames)[0] == {}
    assert tracks_of(frames)[-1] == {150: 0}


def test_a_face_of_another_size_in_the_same_place_is_another_person():
    frames = [[face(100, size=40)]] * 8 + [[face(100, size=100)]] * 8
    assert tracks_of(frames)[0] == {100: 1}
    assert tracks_of(frames)[-1] == {100: 0}


def test_a_passing_error_of_the_detector_is_no_person():
    frames = [[face(100)] for _ in range(16)]
    frames[7] = [face(100), face(400, size=90)]
    assert all(tracks == {100: 0} for tracks in tracks_of(frames))


def test_doubtful_faces_must_be_seen_more_often():
    sure = [[face(100)]] * 3 + [[]] * 13
    doubtful = [[face(100, score=0.6)]] * 3 + [[]] * 13
    assert tracks_of(sure)[0] == {100: 0}
    assert tracks_of(doubtful)[0] == {}


def test_no_faces_and_no_frames_are_no_tracks():
    assert track_faces([(1, []), (2, [])], SETTINGS) == {}
    assert track_faces([], SETTINGS) == {}


@pytest.mark.parametrize("shape", [(0, 2), (1, 1), (1, 4), (4, 1), (3, 3), (2, 5)])
def test_faces_are_assigned_as_by_scipy(shape: tuple[int, int]) -> None:
    for seed in range(50):
        costs = np.random.default_rng(seed).integers(0, 4, shape).astype(float)  # with ties
        rows, columns = linear_sum_assignment(costs)
        assert lowest_cost_pairs(costs) == list(zip(rows.tolist(), columns.tolist(), strict=True))
