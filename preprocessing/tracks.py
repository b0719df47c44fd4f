"""Tracks: which faces of a video's frames are one person.

The frames looked at may lie half a second apart, so a face is looked for where its person was heading, not where it
was; a person may be missed for a few of them. Who is who is decided by place and size alone: a person who leaves and
comes back later is a new track.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, hypot, log

import numpy as np
from scipy.optimize import linear_sum_assignment

from preprocessing.face_detector import Box, Face

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
    sightings: list[tuple[int, int, Face]] = field(default_factory=list)  # which frame looked at, its index, the face

    def expected_at(self, index: int) -> tuple[float, float]:
        """The centre, if the person moves on as between the last two sightings."""
        _, last_index, last = self.sightings[-1]
        x, y = _centre(last.box)
        if len(self.sightings) == 1:
            return x, y
        _, before_index, before = self.sightings[-2]
        before_x, before_y = _centre(before.box)
        ahead = (index - last_index) / (last_index - before_index)
        return x + (x - before_x) * ahead, y + (y - before_y) * ahead

    def may_return_at(self, position: int, max_gap: int) -> bool:
        """Who was seen but once or twice is not waited for as long: it may be another who comes."""
        missed = position - self.sightings[-1][0] - 1
        return missed <= min(max_gap, len(self.sightings))

    def importance(self) -> float:
        return sum(_area(face.box) for _, _, face in self.sightings)

    def weight(self) -> float:
        return sum(face.score for _, _, face in self.sightings)


def track_faces(looked_at: Sequence[int], faces: Sequence[Sequence[Face]], settings: TrackSettings) -> list[list[TrackedFace]]:
    """The faces of each frame looked at, those of passing errors left out, each with the number of its person.

    Numbers go by importance: the largest sum of box areas is 0.
    """
    tracks = _linked(looked_at, faces, settings.max_track_gap)
    least = min(settings.min_track_share * len(looked_at), LONG_ENOUGH)
    lasting = [track for track in tracks if track.weight() >= least]
    lasting.sort(key=lambda track: (-track.importance(), track.sightings[0][1], track.sightings[0][2].box))
    found: list[list[TrackedFace]] = [[] for _ in looked_at]
    for number, track in enumerate(lasting):
        for position, _, face in track.sightings:
            found[position].append(TrackedFace(face, number))
    return found


def _linked(looked_at: Sequence[int], faces: Sequence[Sequence[Face]], max_gap: int) -> list[_Track]:
    tracks: list[_Track] = []
    for position, (index, here) in enumerate(zip(looked_at, faces, strict=True)):
        open_tracks = [track for track in tracks if track.may_return_at(position, max_gap)]
        taken = dict(_matches(open_tracks, here, position, index))
        for number, face in enumerate(here):
            track = taken.get(number)
            if track is None:
                track = _Track()
                tracks.append(track)
            track.sightings.append((position, index, face))
    return tracks


def _matches(tracks: list[_Track], faces: Sequence[Face], position: int, index: int) -> Iterable[tuple[int, _Track]]:
    if not tracks or not faces:
        return []
    costs = np.array([[_cost(track, face, position, index) for face in faces] for track in tracks])
    rows, columns = linear_sum_assignment(costs)
    return [(int(column), tracks[row]) for row, column in zip(rows, columns, strict=True) if costs[row, column] < FORBIDDEN]


def _cost(track: _Track, face: Face, position: int, index: int) -> float:
    """How unlikely it is that this face is that person, in sizes of the face."""
    last_position, _, last = track.sightings[-1]
    growth = abs(log(_size(face.box) / _size(last.box)))
    x, y = _centre(face.box)
    expected_x, expected_y = track.expected_at(index)
    shift = hypot(x - expected_x, y - expected_y) / _mean_size(face.box, last.box)
    reach = REACH + MORE_REACH * (position - last_position - 1)
    return shift + GROWTH_WEIGHT * growth if shift <= reach and growth <= LARGEST_GROWTH else FORBIDDEN


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _size(box: Box) -> float:
    return float(np.sqrt(_area(box)))


def _mean_size(one: Box, other: Box) -> float:
    return exp((log(_size(one)) + log(_size(other))) / 2)
