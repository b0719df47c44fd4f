"""Following: the pictures of a video, in order -> the faces in each, most of them without a search of the whole picture.

Every so often a picture is searched whole. Faces of two such pictures that can be one person's are looked for in between
where that person must have been on the way. Where people came or went, the picture in the middle is searched whole too,
and so on down to a few pictures, in which they are followed from one to the next; and so is a picture where somebody is
lost. The pictures between two searches are worked on side by side with the next ones.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from math import hypot, log

import numpy as np
from scipy.optimize import linear_sum_assignment

from preprocessing.faces.face import Box, Face, each_once, overlap
from preprocessing.faces.face_detector import FaceDetector
from preprocessing.video.video import Picture

SAME_PLACE = 0.5  # overlap above which two faces of one picture are one
FARTHEST = 1.0  # that a person may move between two searches, in sides of the face
LARGEST_GROWTH = log(1.5)
FORBIDDEN = 1e6

Span = list[tuple[int, Picture]]  # frames with their index; the first and the last of them are searched whole
Found = list[tuple[int, list[Face]]]


@dataclass(frozen=True)
class FollowSettings:
    search_every: int  # pictures
    least_span: int  # where people come and go, searches are at least so many pictures apart
    threads: int  # does not change what is found


def follow(
    frames: Iterable[tuple[int, Picture]], detector: FaceDetector, settings: FollowSettings
) -> Iterator[tuple[int, list[Face]]]:
    """The faces of each frame, with its index. Only a few spans of frames are in memory."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    pool, running = _pool(settings.threads), deque[Future[Found]]()
    start = pool.submit(_search, detector, first[1])
    try:
        yield first[0], start.result()
        for span in _spans(first, frames, settings.search_every):
            end = pool.submit(_search, detector, span[-1][1])
            running.append(pool.submit(_fill, span, start, end, detector, settings.least_span))
            start = end
            while len(running) > settings.threads:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()
    finally:
        for future in running:
            future.cancel()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """One for all videos of a process, whose first search in a new thread takes three times as long."""
    return ThreadPoolExecutor(threads)


def _spans(first: tuple[int, Picture], others: Iterator[tuple[int, Picture]], length: int) -> Iterator[Span]:
    """Runs of frames; each begins with the frame that the one before ended with."""
    span = [first]
    for frame in others:
        span.append(frame)
        if len(span) > length:
            yield span
            span = [frame]
    if len(span) > 1:
        yield span


def _search(detector: FaceDetector, picture: Picture) -> list[Face]:
    return detector.detect([picture])[0]


def _fill(span: Span, start: Future[list[Face]], end: Future[list[Face]], detector: FaceDetector, least_span: int) -> Found:
    """The faces of the span's frames after its first. Those of its ends were asked for before, so they come."""
    indices, pictures = zip(*span, strict=True)
    last = end.result()
    return list(zip(indices[1:], [*_between(pictures, start.result(), last, detector, least_span), last], strict=True))


def _between(
    pictures: Sequence[Picture], first: list[Face], last: list[Face], detector: FaceDetector, least_span: int
) -> list[list[Face]]:
    """The faces of the pictures between the first and the last, whose faces are known."""
    between = pictures[1:-1]
    if not between:
        return []
    pairs, gone, come = _pair_up(first, last)
    if (gone or come) and len(pictures) - 1 > least_span:
        middle = len(pictures) // 2
        here = _search(detector, pictures[middle])
        before = _between(pictures[: middle + 1], first, here, detector, least_span)
        return [*before, here, *_between(pictures[middle:], here, last, detector, least_span)]
    on_their_way = [_on_the_way(one, other, between, detector) for one, other in pairs]
    forwards = [_as_long_as_seen(face, between, detector) for face in gone]
    backwards = [_as_long_as_seen(face, between[::-1], detector)[::-1] for face in come]
    found = []
    for picture, *faces in zip(between, *on_their_way, *forwards, *backwards, strict=True):
        if None in faces[: len(pairs)]:  # who is there before and after must be somewhere
            found.append(_search(detector, picture))
        else:  # two people who were looked for may have led to one face
            found.append(each_once((face for face in faces if face), overlap, SAME_PLACE))
    return found


def _on_the_way(one: Face, other: Face, between: Sequence[Picture], detector: FaceDetector) -> list[Face | None]:
    """Somebody who is there before and after, where they must have been."""
    way = [tuple(box) for box in np.linspace(one.box, other.box, len(between) + 2)[1:-1].tolist()]
    return detector.find_again(between, way)


def _as_long_as_seen(face: Face, pictures: Sequence[Picture], detector: FaceDetector) -> list[Face | None]:
    """Somebody who leaves, or who came if the pictures run backwards: in each picture near where they were last."""
    found: list[Face | None] = []
    for picture in pictures:
        found += detector.find_again([picture], [face.box])
        face = found[-1] or face
    return found


def _pair_up(first: list[Face], last: list[Face]) -> tuple[list[tuple[Face, Face]], list[Face], list[Face]]:
    """Faces of two pictures that can be one person's; those of the first alone, and of the last alone."""
    costs = np.array([[_distance(one.box, other.box) for other in last] for one in first]).reshape(len(first), len(last))
    rows, columns = linear_sum_assignment(costs)
    pairs = [(first[row], last[column]) for row, column in zip(rows, columns, strict=True) if costs[row, column] < FORBIDDEN]
    paired = [face for pair in pairs for face in pair]
    return pairs, [face for face in first if face not in paired], [face for face in last if face not in paired]


def _distance(one: Box, other: Box) -> float:
    """In sides of the face; FORBIDDEN if it is too far or too different in size."""
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in (one, other)]
    shift = hypot(one[0] + one[2] - other[0] - other[2], one[1] + one[3] - other[1] - other[3]) / sum(sides)
    return shift if shift <= FARTHEST and abs(log(sides[0] / sides[1])) <= LARGEST_GROWTH else FORBIDDEN
