"""Face detection in consecutive frames, most of them without a full detection.

Every few frames, the detector searches a whole frame (full detection). Faces of two such frames that may belong to the same
person are redetected in the frames between, at interpolated positions. Where people enter or leave, the frame in the middle is
searched too, and so on, down to a few frames, in which these faces are followed from frame to frame. A frame in which a face is
lost is also searched. The frames between two searches are processed in parallel with the next ones.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from math import hypot, log

import numpy as np

from explain_deepfakes.preprocessing.faces.assignment import lowest_cost_pairs
from explain_deepfakes.preprocessing.faces.face import Box, Face, iou, suppress_duplicates
from explain_deepfakes.preprocessing.faces.face_detector import FaceDetector
from explain_deepfakes.preprocessing.faces.params import FollowSettings
from explain_deepfakes.preprocessing.video.video import Picture

DUPLICATE_IOU = 0.5  # two faces of one frame above this are the same face
MAX_SHIFT = 1.0  # that a person may move between two searches, in sides of the face
MAX_LOG_GROWTH = log(1.5)
IMPOSSIBLE = 1e6  # the cost of a match that is not allowed

Span = list[tuple[int, Picture]]  # frames with their indices; the first and the last one are searched
Detections = list[tuple[int, list[Face]]]  # frame indices with the faces of the frames


def follow_faces(
    frames: Iterable[tuple[int, Picture]], detector: FaceDetector, settings: FollowSettings
) -> Iterator[tuple[int, list[Face]]]:
    """Yield the index and the faces of each frame. Only a few spans of frames are in memory."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    pool, running = _thread_pool(settings.threads), deque[Future[Detections]]()
    start = pool.submit(_search, detector, first[1])
    try:
        yield first[0], start.result()
        for span in _split_into_spans(first, frames, settings.search_every):
            end = pool.submit(_search, detector, span[-1][1])
            running.append(pool.submit(_detect_in_span, span, start, end, detector, settings.min_span))
            start = end
            while len(running) > settings.threads:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()
    finally:
        for future in running:
            future.cancel()


@cache
def _thread_pool(threads: int) -> ThreadPoolExecutor:
    """Return the pool of this process. It is reused, because the first search in a new thread takes three times as long."""
    return ThreadPoolExecutor(threads)


def _split_into_spans(first: tuple[int, Picture], others: Iterator[tuple[int, Picture]], length: int) -> Iterator[Span]:
    """Split the frames into spans; each one begins with the last frame of the previous one."""
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


def _detect_in_span(
    span: Span, start: Future[list[Face]], end: Future[list[Face]], detector: FaceDetector, min_span: int
) -> Detections:
    """The faces of all frames of the span but the first. Waiting is safe: the searches of both ends were submitted before."""
    indices, pictures = zip(*span, strict=True)
    last = end.result()
    return list(zip(indices[1:], [*_detect_between(pictures, start.result(), last, detector, min_span), last], strict=True))


def _detect_between(
    pictures: Sequence[Picture], first: list[Face], last: list[Face], detector: FaceDetector, min_span: int
) -> list[list[Face]]:
    """The faces of the pictures between the first and the last one, whose faces are known."""
    between = pictures[1:-1]
    if not between:
        return []
    pairs, left, entered = _match_faces(first, last)
    if (left or entered) and len(pictures) - 1 > min_span:
        middle = len(pictures) // 2
        middle_faces = _search(detector, pictures[middle])
        before = _detect_between(pictures[: middle + 1], first, middle_faces, detector, min_span)
        after = _detect_between(pictures[middle:], middle_faces, last, detector, min_span)
        return [*before, middle_faces, *after]
    interpolated = [_redetect_between(start, end, between, detector) for start, end in pairs]
    forwards = [_redetect_onwards(face, between, detector) for face in left]
    backwards = [_redetect_onwards(face, between[::-1], detector)[::-1] for face in entered]
    detected = []
    for picture, *faces in zip(between, *interpolated, *forwards, *backwards, strict=True):
        if None in faces[: len(pairs)]:  # a face that is present before and after must be in this frame
            detected.append(_search(detector, picture))
        else:  # two expected boxes may have led to the same face
            detected.append(suppress_duplicates((face for face in faces if face), iou, DUPLICATE_IOU))
    return detected


def _redetect_between(start: Face, end: Face, between: Sequence[Picture], detector: FaceDetector) -> list[Face | None]:
    """Redetect a face that is present before and after, at interpolated positions."""
    boxes = [tuple(box) for box in np.linspace(start.box, end.box, len(between) + 2)[1:-1].tolist()]
    return detector.redetect(between, boxes)


def _redetect_onwards(face: Face, pictures: Sequence[Picture], detector: FaceDetector) -> list[Face | None]:
    """Redetect a face from picture to picture, each time near its last position."""
    redetected: list[Face | None] = []
    for picture in pictures:
        redetected += detector.redetect([picture], [face.box])
        face = redetected[-1] or face
    return redetected


def _match_faces(first: list[Face], last: list[Face]) -> tuple[list[tuple[Face, Face]], list[Face], list[Face]]:
    """Pairs of faces of two frames that may belong to the same person; unmatched faces of the first; and of the last."""
    costs = np.array([[_distance(start.box, end.box) for end in last] for start in first]).reshape(len(first), len(last))
    pairs = [(first[row], last[column]) for row, column in lowest_cost_pairs(costs) if costs[row, column] < IMPOSSIBLE]
    paired = [face for pair in pairs for face in pair]
    return pairs, [face for face in first if face not in paired], [face for face in last if face not in paired]


def _distance(start: Box, end: Box) -> float:
    """Distance of the centres in sides of the face; IMPOSSIBLE if it is too long or the sizes differ too much."""
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in (start, end)]
    shift = hypot(start[0] + start[2] - end[0] - end[2], start[1] + start[3] - end[1] - end[3]) / sum(sides)
    return shift if shift <= MAX_SHIFT and abs(log(sides[0] / sides[1])) <= MAX_LOG_GROWTH else IMPOSSIBLE
