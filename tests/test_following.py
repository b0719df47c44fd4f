"""Faces followed between full searches: none is lost, none is invented, and searches are few."""

import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from explain_deepfakes.preprocessing.faces.face import Box, Face, iou
from explain_deepfakes.preprocessing.faces.following import follow_faces
from explain_deepfakes.preprocessing.faces.params import FollowSettings
from explain_deepfakes.preprocessing.video.video import Picture

SIDE = 100.0
EVERY = 16


class Numbered(np.ndarray):
    """A picture with an identity that can be tracked by weak references; its one pixel is its index."""


def picture(index: int) -> Picture:
    return np.array([[index]], np.uint8).view(Numbered)


class Scripted:
    """A detector that returns scripted faces for each picture, and counts its calls."""

    smallest_px = 20

    def __init__(self, *paths: dict[int, tuple[float, float]]) -> None:
        self.paths = paths  # per person: frame -> corner of the face
        self.searched: list[int] = []

    def there(self, index: int) -> list[Face]:
        corners = [path[index] for path in self.paths if index in path]
        return [Face((x, y, x + SIDE, y + SIDE), 0.99 - 0.001 * x / SIDE) for x, y in corners]

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        indices = [int(frame[0, 0]) for frame in pictures]
        self.searched += indices
        return [self.there(index) for index in indices]

    def redetect(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        return [self.nearest(int(frame[0, 0]), box) for frame, box in zip(pictures, boxes, strict=True)]

    def nearest(self, index: int, box: Box) -> Face | None:
        best = max(self.there(index), key=lambda face: iou(face.box, box), default=None)
        return best if best is not None and iou(best.box, box) >= 0.3 else None


def walk(frames: range, start: float, step: float, height: float = 0.0) -> dict[int, tuple[float, float]]:
    return {index: (start + step * (index - frames.start), height) for index in frames}


def followed(detector: Scripted, count: int, threads: int = 2, search_every: int = EVERY) -> dict[int, list[Face]]:
    frames = ((index, picture(index)) for index in range(count))
    detections = list(follow_faces(frames, detector, FollowSettings(search_every, 2, threads)))
    assert [index for index, _ in detections] == list(range(count))
    return dict(detections)


@pytest.mark.parametrize("count", [0, 1, 2, EVERY, EVERY + 1, 2 * EVERY + 1, 50])
def test_every_frame_comes_once_and_in_order_whatever_their_number(count):
    detector = Scripted(walk(range(count), 0, 4))
    detections = followed(detector, count)
    assert all(detections[index] == detector.there(index) for index in range(count))


def test_a_person_who_walks_is_met_in_every_frame_and_whole_pictures_are_searched_seldom():
    detector = Scripted(walk(range(160), 0, 5))
    assert all(len(faces) == 1 for faces in followed(detector, 160).values())
    assert len(detector.searched) <= 160 / EVERY + 2


def test_who_comes_and_goes_between_two_searches_is_met_but_for_a_frame_or_two():
    detector = Scripted(walk(range(64), 0, 1), walk(range(19, 44), 400, 2))
    detections = followed(detector, 64)
    both_seen = [index for index, faces in detections.items() if len(faces) == 2]
    assert set(both_seen) <= set(range(19, 44))
    assert len(both_seen) >= 25 - 2


def test_two_people_who_cross_are_both_met_whenever_both_can_be_seen():
    detector = Scripted(walk(range(64), 0, 8), walk(range(64), 504, -8, height=60))
    assert all(len(faces) == 2 for faces in followed(detector, 64).values())


def test_one_face_that_two_searches_lead_to_is_counted_once():
    detector = Scripted(walk(range(33), 0, 0), {0: (40.0, 0.0), 32: (40.0, 0.0)})
    assert all(len(faces) == 1 for index, faces in followed(detector, 33).items() if 2 < index < 30)


def test_nobody_is_made_up_in_an_empty_room():
    detector = Scripted()
    assert not any(followed(detector, 70).values())
    assert len(detector.searched) <= 70 / EVERY + 2


def test_threads_change_nothing_but_time():
    def follow_with(threads: int) -> dict[int, list[Face]]:
        return followed(Scripted(walk(range(90), 0, 3), walk(range(20, 71), 500, -4)), 90, threads)

    assert follow_with(1) == follow_with(2) == follow_with(5)


def test_only_a_few_frames_are_held_however_long_the_video_is():
    alive: weakref.WeakValueDictionary[int, Picture] = weakref.WeakValueDictionary()
    most = 0

    def frames() -> Iterator[tuple[int, Picture]]:
        nonlocal most
        for index in range(600):
            frame = picture(index % 256)
            alive[index] = frame
            most = max(most, len(alive))
            yield index, frame
            del frame

    threads = 2
    for _ in follow_faces(frames(), Scripted(), FollowSettings(EVERY, 2, threads)):
        pass
    assert most <= (threads + 3) * (EVERY + 1)
