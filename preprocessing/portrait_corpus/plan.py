"""Plan the corpus: the split of each person, and the framing, encodings and fakes of each person's videos.

The plan of a person depends only on the seed, the parameters, the people and the person's id, not on the order of work.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from explain_deepfakes.pipeline.ledger import Entry
from explain_deepfakes.preprocessing.portrait_corpus.animation import Framing
from explain_deepfakes.preprocessing.portrait_corpus.encoding import VideoEncoding
from explain_deepfakes.preprocessing.portrait_corpus.landmarks import FACE_BOTTOM, FACE_SIDE, FACE_TOP, FaceAlignment
from explain_deepfakes.preprocessing.portrait_corpus.manipulations import METHODS
from explain_deepfakes.preprocessing.portrait_corpus.params import PortraitVideoParams, _check_known
from explain_deepfakes.preprocessing.portrait_corpus.portraits import Portrait, face_height_px, group_by_person

SPLITS = ("train", "val", "test")
ASPECTS = (3 / 4, 1.0, 4 / 3, 4 / 3, 16 / 9)
MAX_ENLARGEMENT = 1.3  # of a portrait; beyond that, missing detail would show
MIN_VIDEO_FACE_PX = 80  # height of a face in the finished video
FACE_BOX_FACTOR = 1.12  # the video shows at least the face box enlarged by this factor
SHAKE_MARGIN = 0.03  # fraction of the portrait's sides kept outside of the video, for camera shake
SIMILAR_PEOPLE, SIMILAR_SHARE = 12, 0.15  # donor candidates: their number, and their greatest fraction of the split
MAX_DONOR_ENLARGEMENT = 1.5  # of a donor's face
SWAP_GROUP = 5  # size of the groups that swap faces with one another in the validation and test sets


@dataclass(frozen=True)
class FacePortrait:
    """A usable portrait: its landmarks, size and skin colour. The field names are part of the ledger keys."""

    file: str
    content: str
    size: tuple[int, int]  # width, height
    points: tuple[float, ...]
    skin: tuple[float, ...]  # CIE Lab

    # Cached, because choosing donors compares all pairs of people.
    @cached_property
    def alignment(self) -> FaceAlignment:
        return FaceAlignment.of(self.points)

    @cached_property
    def face_height(self) -> float:
        return face_height_px(self.alignment)


@dataclass(frozen=True)
class Subject:
    """A person with at least one usable portrait."""

    name: str
    id: str
    portrait: Portrait  # of the first picture
    pictures: tuple[FacePortrait, ...]


@dataclass(frozen=True)
class FakePlan:
    """One fake of a person. The field names are part of the ledger keys."""

    method: str
    source: str  # id of the donor, or the person's own
    donor: FacePortrait | None


@dataclass(frozen=True)
class PersonPlan:
    """All videos of one person: the real one and its fakes."""

    id: str
    split: str
    picture: FacePortrait
    framing: Framing
    encodings: tuple[VideoEncoding, ...]
    fakes: tuple[FakePlan, ...]

    @property
    def original(self) -> str:
        """Path of the real video."""
        return f"original_sequences/youtube/c23/videos/{self.id}.mp4"

    def fake(self, fake: FakePlan, kind: str = "c23") -> str:
        """Path of the fake video (kind `c23`) or of its masks (kind `masks`)."""
        return f"manipulated_sequences/{fake.method}/{kind}/videos/{self.id}_{fake.source}.mp4"

    @property
    def videos(self) -> dict[str, list[str]]:
        """The files of the real video and of each fake. Each of these entries is one item of the ledger."""
        return {self.original: [self.original]} | {
            self.fake(fake): [self.fake(fake), self.fake(fake, "masks")] for fake in self.fakes
        }

    @property
    def files(self) -> list[str]:
        return [file for files in self.videos.values() for file in files]

    def key_inputs(self, video: str) -> tuple[object, ...]:
        """Everything that the content of the video depends on, apart from the seed and the length."""
        donors = [asdict(fake) for fake in self.fakes if self.fake(fake) == video]
        return self.id, asdict(self.picture), asdict(self.framing), [asdict(encoding) for encoding in self.encodings], donors


def people_with_faces(portraits: Sequence[Portrait], facts: Mapping[str, Entry]) -> list[Subject]:
    """The people with a usable portrait. `facts` has the result of the face detector for each file."""
    people = []
    for name, own_portraits in group_by_person(portraits):
        usable = [portrait for portrait in own_portraits if "points" in facts[portrait.file]]
        if usable:
            pictures = tuple(_face_portrait(portrait, facts[portrait.file]) for portrait in usable)
            people.append(Subject(name, _id_of(name), usable[0], pictures))
    repeated_ids = {id for id, count in Counter(person.id for person in people).items() if count > 1}
    return [_with_unique_id(person) if person.id in repeated_ids else person for person in people]


def _face_portrait(portrait: Portrait, facts: Entry) -> FacePortrait:
    width, height = facts["size"]
    return FacePortrait(portrait.file, portrait.content, (width, height), tuple(facts["points"]), tuple(facts["skin"]))


def _id_of(name: str) -> str:
    """A name safe for file names, without underscores, which separate target and source."""
    return re.sub(r"[^\w.]+|_+", "-", name).strip("-.") or "person"


def _with_unique_id(person: Subject) -> Subject:
    digest = hashlib.sha256(person.name.encode()).hexdigest()[:8]
    return Subject(person.name, f"{person.id}-{digest}", person.portrait, person.pictures)


def rng_for(seed: int, id: str, purpose: str) -> Generator:
    """An independent random generator for each person and purpose."""
    digest = hashlib.sha256(f"{id} {purpose}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def assign_splits(people: Sequence[Subject], params: PortraitVideoParams) -> dict[str, str]:
    """The split of each person by id. Held-out sources go to the test set; the other people are split at random."""
    sources = {person.portrait.source for person in people}
    _check_known("holdout_sources", params.holdout_sources, sorted(sources))
    held_out = [person for person in people if person.portrait.source in params.holdout_sources]
    others = [person for person in people if person.portrait.source not in params.holdout_sources]
    others.sort(key=lambda person: rng_for(params.seed, person.id, "split").random())
    val, test = (round(share * len(others)) for share in (params.val_share, params.test_share))
    splits = dict.fromkeys((person.id for person in held_out), "test")
    for position, person in enumerate(others):
        splits[person.id] = "test" if position < test else "val" if position < test + val else "train"
    return splits


def plan_corpus(people: Sequence[Subject], params: PortraitVideoParams) -> list[PersonPlan]:
    splits = assign_splits(people, params)
    groups = {split: [person for person in people if splits[person.id] == split] for split in SPLITS}
    return [
        plan_person(person, split, group, params)
        for split, members in groups.items()
        for group in ([members] if split == "train" else swap_groups(members))
        for person in group
    ]


def swap_groups(people: Sequence[Subject]) -> list[list[Subject]]:
    """Divide a split into groups that swap faces only within the group.

    A swap connects two people, and confidence intervals resample groups of connected people. Without this division,
    all people would be one group.
    """
    remaining, groups = sorted(people, key=lambda person: person.id), []
    while remaining:
        first = remaining[0]  # its distance from itself is 0, so it is in its own group
        nearest = sorted(remaining, key=lambda person: (distance(first, person, size_weight=2.0), person.id))
        groups.append(nearest[: SWAP_GROUP if len(remaining) >= 2 * SWAP_GROUP else len(remaining)])
        remaining = [person for person in remaining if person not in groups[-1]]
    return groups


def plan_person(person: Subject, split: str, group: Sequence[Subject], params: PortraitVideoParams) -> PersonPlan:
    rng = rng_for(params.seed, person.id, "video")
    framing = choose_framing(person.pictures[0], params, rng)
    encodings = choose_encodings(person.pictures[0], framing, getattr(params, f"{split}_crf"), params, rng)
    fakes = choose_fakes(person, split, group, params, rng_for(params.seed, person.id, "fakes"))
    return PersonPlan(person.id, split, person.pictures[0], framing, encodings, fakes)


def choose_framing(picture: FacePortrait, params: PortraitVideoParams, rng: Generator) -> Framing:
    """Choose the crop, scale and frame rate, within the limits that the face sets."""
    (left, top, right, bottom), size = _face_box(picture.alignment), np.array(picture.size, float)
    required = np.minimum(np.array([right - left, bottom - top]) * FACE_BOX_FACTOR, size)
    max_visible = size * (1 - 2 * SHAKE_MARGIN)
    fitting = [aspect for aspect in ASPECTS if _max_height(max_visible, aspect) >= _min_height(required, aspect)]
    aspect = float(rng.choice(fitting)) if fitting else float(max_visible[0] / max_visible[1])
    max_height = _max_height(max_visible, aspect)
    min_height = min(_min_height(required, aspect), max_height)
    visible_height = float(rng.uniform(min_height, max_height) if rng.random() < 0.5 else max_height)
    min_scale = MIN_VIDEO_FACE_PX / picture.face_height
    heights = [height for height in params.heights if min_scale <= height / visible_height <= MAX_ENLARGEMENT]
    fallback = MAX_ENLARGEMENT if max(params.heights) > MAX_ENLARGEMENT * visible_height else max(min_scale, 1.0)
    height = int(rng.choice(heights)) if heights else _even_length(visible_height * min(fallback, MAX_ENLARGEMENT))
    scale, width = height / visible_height, _even_length(height * aspect)
    # Put the face near the middle, within the limits of the portrait.
    middle = np.array([(left + right) / 2, (top + bottom) / 2]) * scale
    top_left = middle - np.array([width, height]) * (rng.uniform(0.38, 0.62), rng.uniform(0.42, 0.54))
    corner = np.clip(top_left, 0, np.maximum(size * scale - (width, height), 0))
    rate = int(rng.choice(params.frame_rates))
    return Framing(scale, round(float(corner[0])), round(float(corner[1])), width, height, rate)


def _face_box(alignment: FaceAlignment) -> tuple[float, float, float, float]:
    corners = [(x, y) for x in (-FACE_SIDE, FACE_SIDE) for y in (FACE_TOP, FACE_BOTTOM)]
    points = np.array(corners) @ alignment.matrix.T + alignment.origin
    return (*points.min(0), *points.max(0))


def _max_height(visible: np.ndarray, aspect: float) -> float:
    return min(float(visible[1]), float(visible[0]) / aspect)


def _min_height(required: np.ndarray, aspect: float) -> float:
    return max(float(required[1]), float(required[0]) / aspect)


def _even_length(length: float) -> int:
    """The length rounded down to an even number of pixels, at least 64."""
    return 2 * max(32, math.floor(length / 2))


def choose_encodings(
    picture: FacePortrait, framing: Framing, crf: tuple[int, ...], params: PortraitVideoParams, rng: Generator
) -> tuple[VideoEncoding, ...]:
    """Choose one encoding, or two with a change of size in between."""
    encoding_count = 2 if rng.random() < params.twice_share else 1
    min_scale = MIN_VIDEO_FACE_PX / (picture.face_height * framing.scale)
    shares = [
        share for share in (1.0, 1.0, 0.75, 0.5) if share >= min_scale and share * framing.height >= min(params.heights)
    ] or [1.0]
    sizes = [1.0] * (encoding_count - 1) + [float(rng.choice(shares))]
    return tuple(
        VideoEncoding(
            str(rng.choice(params.codecs)),
            int(rng.integers(crf[0], crf[1] + 1)),
            _even_length(framing.width * size),
            _even_length(framing.height * size),
        )
        for size in sizes
    )


def choose_fakes(
    person: Subject, split: str, group: Sequence[Subject], params: PortraitVideoParams, rng: Generator
) -> tuple[FakePlan, ...]:
    methods = [method for method in params.methods if split == "test" or method not in params.holdout_methods]
    donors = similar_people(person, group)
    possible = [method for method in methods if donors or not METHODS[method].swaps_people]
    count = params.fakes_per_person or len(possible)
    chosen = set(rng.permutation(possible)[:count].tolist())
    return tuple(_fake(person, method, donors, params) for method in params.methods if method in chosen)


def _fake(person: Subject, method: str, donors: Sequence[Subject], params: PortraitVideoParams) -> FakePlan:
    if METHODS[method].swaps_people:
        donor = donors[int(rng_for(params.seed, person.id, f"donor {method}").integers(len(donors)))]
        return FakePlan(method, donor.id, donor.pictures[0])
    return FakePlan(method, person.id, person.pictures[1] if len(person.pictures) > 1 else None)


def similar_people(person: Subject, group: Sequence[Subject]) -> list[Subject]:
    """Donor candidates: the people most similar in skin and pose, if possible with enough pixels for the face."""
    others = [candidate for candidate in group if candidate.id != person.id]
    face_height = person.pictures[0].face_height
    sharp = [candidate for candidate in others if candidate.pictures[0].face_height * MAX_DONOR_ENLARGEMENT >= face_height]
    count = min(SIMILAR_PEOPLE, max(2, round(SIMILAR_SHARE * len(others))))
    return sorted(sharp or others, key=lambda candidate: (distance(person, candidate), candidate.id))[:count]


def distance(first: Subject, second: Subject, size_weight: float = 0.0) -> float:
    """Dissimilarity of two faces in skin and pose, and in size with the given weight; 0 for the same face."""
    ours, theirs = first.pictures[0], second.pictures[0]
    skin, turn = math.dist(ours.skin, theirs.skin) / 12, abs(ours.alignment.turn - theirs.alignment.turn) / 0.08
    return skin + turn + size_weight * abs(math.log(ours.face_height / theirs.face_height))


def pair_people(plans: Sequence[PersonPlan], split: str) -> list[list[str]]:
    """The people of a split in pairs; the last of an odd number is paired with itself."""
    ids = sorted(plan.id for plan in plans if plan.split == split)
    return [[first, ids[number + 1] if number + 1 < len(ids) else first] for number, first in enumerate(ids) if number % 2 == 0]
