"""Face tracking: which faces of a video's frames belong to the same person.

The analysed frames may be half a second apart, so a face is expected where its person was heading, not where it was last.
A person may be missed in a few of the frames. Only position and size are compared: a person who leaves and returns later is a
new track.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, hypot, log

import numpy as np

from explain_deepfakes.preprocessing.faces.assignment import lowest_cost_pairs
from explain_deepfakes.preprocessing.faces.face import Box, Face
from explain_deepfakes.preprocessing.faces.params import TrackSettings

MAX_SHIFT = 1.5  # distance of a face from its expected position, in sizes of the face
MAX_SHIFT_PER_GAP = 0.4  # added for each analysed frame in which the face was missed
MAX_LOG_GROWTH = log(2.0)  # between two detections
GROWTH_WEIGHT = 0.5  # cost of a change of size by the factor e, relative to a shift by one size
SUFFICIENT_DETECTIONS = 5.0  # keep a track with this many, whatever its share: a person may appear for one second only
IMPOSSIBLE = 1e6  # the cost of a match that is not allowed


@dataclass(frozen=True, slots=True)
class TrackedFace:
    face: Face
    track: int  # 0 is the main person


@dataclass
class _Track:
    faces: list[Face] = field(default_factory=list)
    indices: "array[int]" = field(default_factory=lambda: array("q"))  # of their frames
    last_position: int = -1  # among the analysed frames

    def add(self, position: int, index: int, face: Face) -> None:
        self.faces.append(face)
        self.indices.append(index)
        self.last_position = position

    def expected_centre(self, index: int) -> tuple[float, float]:
        """Centre of the face in a later frame, extrapolated from the last two detections."""
        x, y = _centre(self.faces[-1].box)
        if len(self.faces) == 1:
            return x, y
        previous_x, previous_y = _centre(self.faces[-2].box)
        steps = (index - self.indices[-1]) / (self.indices[-1] - self.indices[-2])
        return x + (x - previous_x) * steps, y + (y - previous_y) * steps

    def is_open(self, position: int, max_gap: int) -> bool:
        """Whether the track may continue at this position. A track of few detections is closed sooner."""
        return position - self.last_position - 1 <= min(max_gap, len(self.faces))

    def importance(self) -> float:
        return sum(_area(face.box) for face in self.faces)

    def weight(self) -> float:
        return sum(face.score for face in self.faces)


def track_faces(detections: Iterable[tuple[int, Sequence[Face]]], settings: TrackSettings) -> dict[int, list[TrackedFace]]:
    """Assign tracks to the faces of the analysed frames; return the frames with faces.

    `detections` are indices and faces of the frames. Tracks that are too short are dropped. Numbers are assigned by importance:
    track 0 has the largest sum of box areas.
    """
    tracks, analysed_frames = _link(detections, settings.max_track_gap)
    min_weight = min(settings.min_track_share * analysed_frames, SUFFICIENT_DETECTIONS)
    kept = [track for track in tracks if track.weight() >= min_weight]
    kept.sort(key=lambda track: (-track.importance(), track.indices[0], track.faces[0].box))
    tracked: dict[int, list[TrackedFace]] = {}
    for number, track in enumerate(kept):
        for index, face in zip(track.indices, track.faces, strict=True):
            tracked.setdefault(index, []).append(TrackedFace(face, number))
    return tracked


def _link(detections: Iterable[tuple[int, Sequence[Face]]], max_gap: int) -> tuple[list[_Track], int]:
    """Link faces to tracks; return all tracks, and the number of frames."""
    tracks: list[_Track] = []
    position = -1
    for position, (index, faces) in enumerate(detections):
        open_tracks = [track for track in tracks if track.is_open(position, max_gap)]
        matches = dict(_match(open_tracks, faces, position, index))
        for number, face in enumerate(faces):
            track = matches.get(number)
            if track is None:
                track = _Track()
                tracks.append(track)
            track.add(position, index, face)
    return tracks, position + 1


def _match(tracks: list[_Track], faces: Sequence[Face], position: int, index: int) -> Iterable[tuple[int, _Track]]:
    """Pairs of the number of a face and its track."""
    if not tracks or not faces:
        return []
    costs = np.array([[_cost(track, face, position, index) for face in faces] for track in tracks])
    return [(column, tracks[row]) for row, column in lowest_cost_pairs(costs) if costs[row, column] < IMPOSSIBLE]


def _cost(track: _Track, face: Face, position: int, index: int) -> float:
    """How unlikely it is that the face continues the track, in sizes of the face."""
    last = track.faces[-1]
    growth = abs(log(_size(face.box) / _size(last.box)))
    x, y = _centre(face.box)
    expected_x, expected_y = track.expected_centre(index)
    shift = hypot(x - expected_x, y - expected_y) / _mean_size(face.box, last.box)
    max_shift = MAX_SHIFT + MAX_SHIFT_PER_GAP * (position - track.last_position - 1)
    return shift + GROWTH_WEIGHT * growth if shift <= max_shift and growth <= MAX_LOG_GROWTH else IMPOSSIBLE


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _size(box: Box) -> float:
    return float(np.sqrt(_area(box)))


def _mean_size(first: Box, second: Box) -> float:
    """Geometric mean."""
    return exp((log(_size(first)) + log(_size(second))) / 2)
