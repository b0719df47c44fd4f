"""Which videos are made of whom: the split of each person, and for each video its size, its encodings and its fakes.

All of it follows from the seed, the settings and the person's id, so that what is made of one person does not depend on
the order of work.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from pipeline.errors import UserError
from pipeline.params import setting
from preprocessing.portrait_corpus.animation import Framing
from preprocessing.portrait_corpus.encoding import ENCODERS, Encoding
from preprocessing.portrait_corpus.landmarks import FACE_BOTTOM, FACE_SIDE, FACE_TOP, FaceFrame
from preprocessing.portrait_corpus.manipulations import METHODS
from preprocessing.portrait_corpus.portraits import Portrait, face_height_px, people_of

SPLITS = ("train", "val", "test")
ASPECTS = (3 / 4, 1.0, 4 / 3, 4 / 3, 16 / 9)
MOST_ENLARGED = 1.3  # a face; beyond that, the missing detail would show
LEAST_FACE_PX = 80  # height of a face in the finished video
AROUND_FACE = 1.12  # of the face's box, that the picture shows at least
MARGIN = 0.03  # of the portrait's sides, that shaking may uncover
SIMILAR_PEOPLE, SIMILAR_SHARE = 12, 0.15  # that a donor is drawn from: so many, and no more of the split than this
LARGEST_ENLARGING = 1.5  # of a donor's face
SWAP_GROUP = 5  # people who swap faces with one another, where they are validated or tested on


@dataclass(frozen=True)
class Params:
    portraits: tuple[Path, ...] = setting("folder of the portraits, with or without provenance.csv")
    seed: int = setting("every random number follows from it", low=0)
    frames: int = setting("length of every video", low=1)
    frame_rates: tuple[int, ...] = setting("frames a second, one of these for each person", low=1)
    heights: tuple[int, ...] = setting("pixels, one of these for each person; smaller where a face would be enlarged", low=128)
    methods: tuple[str, ...] = setting(f"manipulations: {', '.join(METHODS)}")
    fakes_per_person: int = setting("how many of the manipulations each person gets; 0: all", low=0)
    holdout_methods: tuple[str, ...] = setting("those of the manipulations that are made of test people only")
    holdout_sources: tuple[str, ...] = setting("sources (folders) whose people are all in the test set")
    val_share: float = setting("of the people, to validate on", low=0, high=1)
    test_share: float = setting("of the people of the other sources, to test on", low=0, high=1)
    codecs: tuple[str, ...] = setting(f"one of these for each encoding: {', '.join(ENCODERS)}")
    twice_share: float = setting("of the videos, encoded twice", low=0, high=1)
    train_crf: tuple[int, ...] = setting("least and greatest crf of the encodings of training videos", low=0, high=51)
    val_crf: tuple[int, ...] = setting("the same, of validation videos", low=0, high=51)
    test_crf: tuple[int, ...] = setting("the same, of test videos", low=0, high=51)
    min_face_px: int = setting("lowest face that a portrait may show", low=32)
    max_failed_fraction: float = setting("of the portraits that may be unusable", low=0, high=1)
    workers: int = setting("processes that render", low=1)

    def __post_init__(self) -> None:
        for name, known in (("methods", METHODS), ("holdout_methods", self.methods), ("codecs", ENCODERS)):
            _check_known(name, getattr(self, name), known)
        for name in ("methods", "codecs", "frame_rates", "heights"):
            if not getattr(self, name):
                raise UserError(f"make_portrait_videos.{name} is empty; name at least one")
        for name in ("train_crf", "val_crf", "test_crf"):
            crf = getattr(self, name)
            if len(crf) != 2 or crf[0] > crf[1]:
                raise UserError(
                    f"make_portrait_videos.{name} is {list(crf)}; it must be the least and the greatest, as [18, 31]"
                )
        if odd := [height for height in self.heights if height % 2]:
            raise UserError(f"make_portrait_videos.heights has {odd[0]}; heights must be even")
        if len(self.portraits) > 1:
            raise UserError(f"make_portrait_videos.portraits names {len(self.portraits)} folders; a corpus is made of one")
        if self.val_share + self.test_share > 1:
            raise UserError("make_portrait_videos.val_share and test_share are more than 1 together; lower one of them")

    @property
    def folder(self) -> Path:
        """Of the portraits."""
        if not self.portraits:
            raise UserError("make_portrait_videos.portraits is empty; name the folder of the portraits with --portraits")
        return self.portraits[0]


def _check_known(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise UserError(f"make_portrait_videos.{name} has '{unknown[0]}'; it can have: {', '.join(known)}")


@dataclass(frozen=True)
class Picture:
    """A portrait with a face."""

    file: str
    content: str
    size: tuple[int, int]  # width, height
    points: tuple[float, ...]
    skin: tuple[float, ...]  # CIE Lab

    # Kept, because everybody is compared with everybody when donors are chosen.
    @cached_property
    def frame(self) -> FaceFrame:
        return FaceFrame.of(self.points)

    @cached_property
    def face_height(self) -> float:
        return face_height_px(self.frame)


@dataclass(frozen=True)
class Person:
    name: str
    id: str
    portrait: Portrait  # of the first picture
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Fake:
    method: str
    source: str  # id of the donor, or the person's own
    donor: Picture | None


@dataclass(frozen=True)
class Recipe:
    """All that is made of one person."""

    id: str
    split: str
    picture: Picture
    framing: Framing
    encodings: tuple[Encoding, ...]
    fakes: tuple[Fake, ...]

    @property
    def original(self) -> str:
        return f"original_sequences/youtube/c23/videos/{self.id}.mp4"

    def fake(self, fake: Fake, kind: str = "c23") -> str:
        return f"manipulated_sequences/{fake.method}/{kind}/videos/{self.id}_{fake.source}.mp4"

    @property
    def videos(self) -> dict[str, list[str]]:
        """The files of the real video and of each fake, which are made and remembered one by one."""
        return {self.original: [self.original]} | {
            self.fake(fake): [self.fake(fake), self.fake(fake, "masks")] for fake in self.fakes
        }

    @property
    def files(self) -> list[str]:
        return [file for files in self.videos.values() for file in files]

    def basis_of(self, video: str) -> tuple[Any, ...]:
        """All that decides how that video looks, apart from the seed and the length."""
        donors = [asdict(fake) for fake in self.fakes if self.fake(fake) == video]
        return self.id, asdict(self.picture), asdict(self.framing), [asdict(one) for one in self.encodings], donors


def people_with_faces(portraits: Sequence[Portrait], facts: dict[str, dict[str, Any]]) -> list[Person]:
    """Those who have a usable picture; `facts` are the detector's, by file."""
    people = []
    for name, own in people_of(portraits):
        usable = [one for one in own if "points" in facts[one.file]]
        if usable:
            pictures = tuple(_picture(one, facts[one.file]) for one in usable)
            people.append(Person(name, _id_of(name), usable[0], pictures))
    repeated = {one for one, count in Counter(person.id for person in people).items() if count > 1}
    return [_with_unique_id(person) if person.id in repeated else person for person in people]


def _picture(portrait: Portrait, facts: dict[str, Any]) -> Picture:
    width, height = facts["size"]
    return Picture(portrait.file, portrait.content, (width, height), tuple(facts["points"]), tuple(facts["skin"]))


def _id_of(name: str) -> str:
    """As it may stand in file names, where an underscore parts target and source."""
    return re.sub(r"[^\w.]+|_+", "-", name).strip("-.") or "person"


def _with_unique_id(person: Person) -> Person:
    digest = hashlib.sha256(person.name.encode()).hexdigest()[:8]
    return Person(person.name, f"{person.id}-{digest}", person.portrait, person.pictures)


def rng_for(seed: int, id: str, purpose: str) -> Generator:
    digest = hashlib.sha256(f"{id} {purpose}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def assign_splits(people: Sequence[Person], params: Params) -> dict[str, str]:
    """By id. Held-out sources are tested on; of the others' people, the shares are drawn."""
    sources = {person.portrait.source for person in people}
    _check_known("holdout_sources", params.holdout_sources, sorted(sources))
    held_out = [person for person in people if person.portrait.source in params.holdout_sources]
    others = [person for person in people if person.portrait.source not in params.holdout_sources]
    others.sort(key=lambda person: rng_for(params.seed, person.id, "split").random())
    val, test = (round(share * len(others)) for share in (params.val_share, params.test_share))
    splits = dict.fromkeys((person.id for person in held_out), "test")
    for place, person in enumerate(others):
        splits[person.id] = "test" if place < test else "val" if place < test + val else "train"
    return splits


def make_plan(people: Sequence[Person], params: Params) -> list[Recipe]:
    splits = assign_splits(people, params)
    groups = {split: [person for person in people if splits[person.id] == split] for split in SPLITS}
    return [
        make_recipe(person, split, group, params)
        for split, everybody in groups.items()
        for group in ([everybody] if split == "train" else swap_groups(everybody))
        for person in group
    ]


def swap_groups(people: Sequence[Person]) -> list[list[Person]]:
    """Parts of a split that swap faces only among themselves.

    A swap connects two people, and intervals are drawn over groups of connected people: else all would be one group.
    """
    left, groups = sorted(people, key=lambda person: person.id), []
    while left:
        first = left[0]
        nearest = sorted(left, key=lambda other: (distance(first, other, of_size=2.0), other.id))  # begins with `first`
        groups.append(nearest[: SWAP_GROUP if len(left) >= 2 * SWAP_GROUP else len(left)])
        left = [person for person in left if person not in groups[-1]]
    return groups


def make_recipe(person: Person, split: str, group: Sequence[Person], params: Params) -> Recipe:
    rng = rng_for(params.seed, person.id, "video")
    framing = frame_video(person.pictures[0], params, rng)
    encodings = choose_encodings(person.pictures[0], framing, getattr(params, f"{split}_crf"), params, rng)
    fakes = choose_fakes(person, split, group, params, rng_for(params.seed, person.id, "fakes"))
    return Recipe(person.id, split, person.pictures[0], framing, encodings, fakes)


def frame_video(picture: Picture, params: Params, rng: Generator) -> Framing:
    """What of the portrait is seen, as large as its face allows, at one of the heights."""
    (left, top, right, bottom), size = _face_box(picture.frame), np.array(picture.size, float)
    needed = np.minimum(np.array([right - left, bottom - top]) * AROUND_FACE, size)
    seen_most = size * (1 - 2 * MARGIN)
    fitting = [aspect for aspect in ASPECTS if _highest(seen_most, aspect) >= _lowest(needed, aspect)]
    aspect = float(rng.choice(fitting)) if fitting else float(seen_most[0] / seen_most[1])
    highest = _highest(seen_most, aspect)
    lowest = min(_lowest(needed, aspect), highest)
    seen_height = float(rng.uniform(lowest, highest) if rng.random() < 0.5 else highest)
    least = LEAST_FACE_PX / picture.face_height
    heights = [height for height in params.heights if least <= height / seen_height <= MOST_ENLARGED]
    fallback = MOST_ENLARGED if max(params.heights) > MOST_ENLARGED * seen_height else max(least, 1.0)
    height = int(rng.choice(heights)) if heights else _even(seen_height * min(fallback, MOST_ENLARGED))
    scale, width = height / seen_height, _even(height * aspect)
    # The face lies somewhere near the middle, as far as the portrait reaches.
    middle = np.array([(left + right) / 2, (top + bottom) / 2]) * scale
    wanted = middle - np.array([width, height]) * (rng.uniform(0.38, 0.62), rng.uniform(0.42, 0.54))
    corner = np.clip(wanted, 0, np.maximum(size * scale - (width, height), 0))
    rate = int(rng.choice(params.frame_rates))
    return Framing(scale, round(float(corner[0])), round(float(corner[1])), width, height, rate)


def _face_box(frame: FaceFrame) -> tuple[float, float, float, float]:
    corners = [(x, y) for x in (-FACE_SIDE, FACE_SIDE) for y in (FACE_TOP, FACE_BOTTOM)]
    places = np.array(corners) @ frame.matrix.T + frame.origin
    return (*places.min(0), *places.max(0))


def _highest(seen: np.ndarray, aspect: float) -> float:
    return min(float(seen[1]), float(seen[0]) / aspect)


def _lowest(needed: np.ndarray, aspect: float) -> float:
    return max(float(needed[1]), float(needed[0]) / aspect)


def _even(length: float) -> int:
    return 2 * max(32, math.floor(length / 2))


def choose_encodings(
    picture: Picture, framing: Framing, crf: tuple[int, ...], params: Params, rng: Generator
) -> tuple[Encoding, ...]:
    """One, or two with a change of size between them."""
    times = 2 if rng.random() < params.twice_share else 1
    least = LEAST_FACE_PX / (picture.face_height * framing.scale)
    shares = [share for share in (1.0, 1.0, 0.75, 0.5) if share >= least and share * framing.height >= min(params.heights)] or [
        1.0
    ]
    sizes = [1.0] * (times - 1) + [float(rng.choice(shares))]
    return tuple(
        Encoding(
            str(rng.choice(params.codecs)),
            int(rng.integers(crf[0], crf[1] + 1)),
            _even(framing.width * size),
            _even(framing.height * size),
        )
        for size in sizes
    )


def choose_fakes(person: Person, split: str, group: Sequence[Person], params: Params, rng: Generator) -> tuple[Fake, ...]:
    methods = [method for method in params.methods if split == "test" or method not in params.holdout_methods]
    donors = similar_people(person, group)
    possible = [method for method in methods if donors or not METHODS[method].swaps_people]
    wanted = params.fakes_per_person or len(possible)
    drawn = set(rng.permutation(possible)[:wanted].tolist())
    return tuple(_fake(person, method, donors, params) for method in params.methods if method in drawn)


def _fake(person: Person, method: str, donors: Sequence[Person], params: Params) -> Fake:
    if METHODS[method].swaps_people:
        donor = donors[int(rng_for(params.seed, person.id, f"donor {method}").integers(len(donors)))]
        return Fake(method, donor.id, donor.pictures[0])
    return Fake(method, person.id, person.pictures[1] if len(person.pictures) > 1 else None)


def similar_people(person: Person, group: Sequence[Person]) -> list[Person]:
    """Others of the split whose skin and pose are nearest, and whose pictures have enough pixels, if there are any."""
    others = [other for other in group if other.id != person.id]
    ours = person.pictures[0].face_height
    sharp = [other for other in others if other.pictures[0].face_height * LARGEST_ENLARGING >= ours]
    most = min(SIMILAR_PEOPLE, max(2, round(SIMILAR_SHARE * len(others))))
    return sorted(sharp or others, key=lambda other: (distance(person, other), other.id))[:most]


def distance(one: Person, other: Person, of_size: float = 0.0) -> float:
    """How much two faces differ in skin and pose, and in size, if that counts; 0 from oneself."""
    ours, theirs = one.pictures[0], other.pictures[0]
    skin, turn = math.dist(ours.skin, theirs.skin) / 12, abs(ours.frame.turn - theirs.frame.turn) / 0.08
    return skin + turn + of_size * abs(math.log(ours.face_height / theirs.face_height))


def pairs_of(recipes: Sequence[Recipe], split: str) -> list[list[str]]:
    """The split's people, two and two; an odd one out is paired with itself."""
    ids = sorted(recipe.id for recipe in recipes if recipe.split == split)
    return [[first, ids[number + 1] if number + 1 < len(ids) else first] for number, first in enumerate(ids) if number % 2 == 0]
