"""Following: the pictures of a video, in order -> the faces in each, most of them without a search of the whole picture.

Every so often a picture is searched whole. Faces of two such pictures that can be one person's are looked for in between
where that person must have been on the way; where people came or went, the picture in the middle is searched whole too,
and so on down; and so is a picture where somebody is lost. The pictures between two searches are worked on side by side
with the next ones.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import hypot, log

import numpy as np
from scipy.optimize import linear_sum_assignment

from preprocessing.face_detector import Box, Face, FaceDetector, overlap
from preprocessing.video import Picture

SAME_PLACE = 0.5  # overlap from which two faces of one picture are one
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
    with ThreadPoolExecutor(settings.threads) as pool:
        start = pool.submit(_search, detector, first[1])
        yield first[0], start.result()
        running: deque[Future[Found]] = deque()
        for span in _spans(first, frames, settings.search_every):
            end = pool.submit(_search, detector, span[-1][1])
            running.append(pool.submit(_fill, span, start, end, detector, settings.least_span))
            start = end
            while len(running) > settings.threads:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


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


def _fill(span: Span, start: "Future[list[Face]]", end: "Future[list[Face]]", detector: FaceDetector, least_span: int) -> Found:
    """The faces of the span's frames after its first. Those of its ends were asked for before, so they come."""
    indices, pictures = zip(*span, strict=True)
    last = end.result()
    return list(zip(indices[1:], [*_between(pictures, start.result(), last, detector, least_span), last], strict=True))


def _between(
    pictures: Sequence[Picture], first: list[Face], last: list[Face], detector: FaceDetector, least_span: int
) -> list[list[Face]]:
    """The faces of the pictures between the first and the last, whose faces are known."""
    if len(pictures) <= 2:
        return []
    pairs, lone = _pair_up(first, last)
    if lone and len(pictures) - 1 > least_span:
        middle = len(pictures) // 2
        here = detector.detect([pictures[middle]])[0]
        before = _between(pictures[: middle + 1], first, here, detector, least_span)
        return [*before, here, *_between(pictures[middle:], here, last, detector, least_span)]
    found: list[list[Face]] = [[] for _ in pictures[1:-1]]
    lost: set[int] = set()
    for one, other in [*pairs, *((face, face) for face in lone)]:
        way = [tuple(box) for box in np.linspace(one.box, other.box, len(pictures))[1:-1].tolist()]
        for place, face in enumerate(detector.find_again(pictures[1:-1], way)):
            if face is not None:
                found[place].append(face)
            elif one is not other:
                lost.add(place)  # who is there before and after must be somewhere
    for place in lost:
        found[place] = detector.detect([pictures[1 + place]])[0]
    return [_each_once(faces) for faces in found]


def _pair_up(first: list[Face], last: list[Face]) -> tuple[list[tuple[Face, Face]], list[Face]]:
    """Faces of two pictures that can be one person's, and those left over."""
    if not first or not last:
        return [], [*first, *last]
    costs = np.array([[_distance(one.box, other.box) for other in last] for one in first])
    rows, columns = linear_sum_assignment(costs)
    matched = [(row, column) for row, column in zip(rows, columns, strict=True) if costs[row, column] < FORBIDDEN]
    lone_first = set(range(len(first))) - {row for row, _ in matched}
    lone_last = set(range(len(last))) - {column for _, column in matched}
    lone = [*(first[row] for row in sorted(lone_first)), *(last[column] for column in sorted(lone_last))]
    return [(first[row], last[column]) for row, column in matched], lone


def _distance(one: Box, other: Box) -> float:
    """In sides of the face; FORBIDDEN if it is too far or too different in size."""
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in (one, other)]
    shift = hypot(one[0] + one[2] - other[0] - other[2], one[1] + one[3] - other[1] - other[3]) / sum(sides)
    return shift if shift <= FARTHEST and abs(log(sides[0] / sides[1])) <= LARGEST_GROWTH else FORBIDDEN


def _each_once(faces: list[Face]) -> list[Face]:
    """Two people who were looked for may have led to one face; the surest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box)):
        if all(overlap(face.box, other.box) < SAME_PLACE for other in kept):
            kept.append(face)
    return kept
