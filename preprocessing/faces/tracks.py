"""Tracks: which faces of a video's frames are one person.

The frames looked at may lie half a second apart, so a face is looked for where its person was heading, not where it
was; a person may be missed for a few of them. Who is who is decided by place and size alone: a person who leaves and
comes back later is a new track.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, hypot, log

import numpy as np
from scipy.optimize import linear_sum_assignment

from preprocessing.faces.face import Box, Face

REACH = 1.5  # how far from where it is expected a face may turn up, in its own sizes
MORE_REACH = 0.4  # and how much farther for each further frame it was missed in
LARGEST_GROWTH = log(2.0)  # between two sightings
GROWTH_WEIGHT = 0.5  # what a change of size by the factor e counts, against a shift by one size
LONG_ENOUGH = 5.0  # sightings that make a person, however many frames are looked at: who passes by in a second is one
FORBIDDEN = 1e6


@dataclass(frozen=True)
class TrackSettings:
    min_track_share: float  # of the frames looked at; a sighting counts as much as its score. LONG_ENOUGH is enough
    max_track_gap: int  # frames looked at in a row that a person may be missed in


@dataclass(frozen=True, slots=True)
class TrackedFace:
    face: Face
    track: int  # 0 is the main person


@dataclass
class _Track:
    faces: list[Face] = field(default_factory=list)
    indices: "array[int]" = field(default_factory=lambda: array("q"))  # of their frames
    last_position: int = -1  # which of the frames looked at

    def add(self, position: int, index: int, face: Face) -> None:
        self.faces.append(face)
        self.indices.append(index)
        self.last_position = position

    def expected_at(self, index: int) -> tuple[float, float]:
        """The centre, if the person moves on as between the last two sightings."""
        x, y = _centre(self.faces[-1].box)
        if len(self.faces) == 1:
            return x, y
        before_x, before_y = _centre(self.faces[-2].box)
        ahead = (index - self.indices[-1]) / (self.indices[-1] - self.indices[-2])
        return x + (x - before_x) * ahead, y + (y - before_y) * ahead

    def may_return_at(self, position: int, max_gap: int) -> bool:
        """Who was seen but once or twice is not waited for as long: it may be another who comes."""
        return position - self.last_position - 1 <= min(max_gap, len(self.faces))

    def importance(self) -> float:
        return sum(_area(face.box) for face in self.faces)

    def weight(self) -> float:
        return sum(face.score for face in self.faces)


def track_faces(seen: Iterable[tuple[int, Sequence[Face]]], settings: TrackSettings) -> dict[int, list[TrackedFace]]:
    """The frames looked at, as index and faces -> the faces of those that have any, each with the number of its person.

    Those of passing errors are left out. Numbers go by importance: the largest sum of box areas is 0.
    """
    tracks, looked_at = _linked(seen, settings.max_track_gap)
    least = min(settings.min_track_share * looked_at, LONG_ENOUGH)
    lasting = [track for track in tracks if track.weight() >= least]
    lasting.sort(key=lambda track: (-track.importance(), track.indices[0], track.faces[0].box))
    found: dict[int, list[TrackedFace]] = {}
    for number, track in enumerate(lasting):
        for index, face in zip(track.indices, track.faces, strict=True):
            found.setdefault(index, []).append(TrackedFace(face, number))
    return found


def _linked(seen: Iterable[tuple[int, Sequence[Face]]], max_gap: int) -> tuple[list[_Track], int]:
    """And how many frames were looked at."""
    tracks: list[_Track] = []
    position = -1
    for position, (index, here) in enumerate(seen):
        open_tracks = [track for track in tracks if track.may_return_at(position, max_gap)]
        taken = dict(_matches(open_tracks, here, position, index))
        for number, face in enumerate(here):
            track = taken.get(number)
            if track is None:
                track = _Track()
                tracks.append(track)
            track.add(position, index, face)
    return tracks, position + 1


def _matches(tracks: list[_Track], faces: Sequence[Face], position: int, index: int) -> Iterable[tuple[int, _Track]]:
    if not tracks or not faces:
        return []
    costs = np.array([[_cost(track, face, position, index) for face in faces] for track in tracks])
    rows, columns = linear_sum_assignment(costs)
    return [(int(column), tracks[row]) for row, column in zip(rows, columns, strict=True) if costs[row, column] < FORBIDDEN]


def _cost(track: _Track, face: Face, position: int, index: int) -> float:
    """How unlikely it is that this face is that person, in sizes of the face."""
    last = track.faces[-1]
    growth = abs(log(_size(face.box) / _size(last.box)))
    x, y = _centre(face.box)
    expected_x, expected_y = track.expected_at(index)
    shift = hypot(x - expected_x, y - expected_y) / _mean_size(face.box, last.box)
    reach = REACH + MORE_REACH * (position - track.last_position - 1)
    return shift + GROWTH_WEIGHT * growth if shift <= reach and growth <= LARGEST_GROWTH else FORBIDDEN


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _size(box: Box) -> float:
    return float(np.sqrt(_area(box)))


def _mean_size(one: Box, other: Box) -> float:
    return exp((log(_size(one)) + log(_size(other))) / 2)
