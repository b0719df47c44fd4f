"""Which split a video belongs to, and what leaks from one split into another.

Identities that occur in one video, or in copies of one file, belong together, and so do the ones tied to these in turn:
such a group goes into one split as a whole. What the corpus says of a video, or of one of its people, comes first; then
what it says of others of the group; else a hash of the group decides.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.index import SPLITS, Video

SHARES = {"training_set": 0.72, "validation_set": 0.14, "test_set": 0.14}  # as FaceForensics++'s official lists have it
BYTES = " "  # in front of a hash; no identity has a space


class Splittable(Protocol):
    @property
    def video(self) -> str: ...
    @property
    def identities(self) -> tuple[str, ...]: ...
    @property
    def split(self) -> str: ...


def assign_splits(
    items: Sequence[Splittable],
    contents: Mapping[str, str],
    official: Mapping[str, str],
    open_splits: tuple[str, ...] = SPLITS,
) -> dict[str, str]:
    """The split of each video, given who is in it, and by its name the hash of its bytes.

    A video may bring its split along, and `official` gives that of people. The others go to one of the open splits.
    """
    groups = _groups((*item.identities, *_same_bytes(contents.get(item.video))) for item in items)
    said: dict[frozenset[str], list[tuple[str, str]]] = defaultdict(list)
    for item in items:
        if item.split in open_splits:
            said[groups[item.identities[0]]].append((item.video, item.split))
    splits = {group: _split_of(group, official, said.get(group, []), open_splits) for group in set(groups.values())}
    return {item.video: item.split or _of_person(item, official) or splits[groups[item.identities[0]]] for item in items}


def _same_bytes(content: str | None) -> tuple[str, ...]:
    """What ties copies of one file together, as if a person of that name were in them."""
    return (BYTES + content,) if content else ()


def _of_person(item: Splittable, official: Mapping[str, str]) -> str:
    return next((official[identity] for identity in item.identities if identity in official), "")


def _groups(together: Iterable[tuple[str, ...]]) -> dict[str, frozenset[str]]:
    """Each identity with all that it is tied to."""
    tied: dict[str, set[str]] = defaultdict(set)
    for identities in together:
        for identity in identities:
            tied[identity].update(identities)
    groups: dict[str, frozenset[str]] = {}
    for identity in tied:
        if identity not in groups:
            group = frozenset(_reached_from(identity, tied))
            groups.update(dict.fromkeys(group, group))
    return groups


def _reached_from(identity: str, tied: Mapping[str, set[str]]) -> set[str]:
    reached, ahead = {identity}, [identity]
    while ahead:
        new = tied[ahead.pop()] - reached
        reached |= new
        ahead.extend(new)
    return reached


def _split_of(
    group: frozenset[str], official: Mapping[str, str], said: list[tuple[str, str]], open_splits: tuple[str, ...]
) -> str:
    listed = [official[identity] for identity in sorted(group) if identity in official] or [split for _, split in sorted(said)]
    if listed:
        return listed[0]
    first = min(identity for identity in group if not identity.startswith(BYTES))
    drawn = int(hashlib.sha256(first.encode()).hexdigest()[:8], 16) / 16**8 * sum(SHARES[split] for split in open_splits)
    for split in open_splits:
        drawn -= SHARES[split]
        if drawn < 0:
            return split
    return open_splits[-1]


@dataclass(frozen=True)
class Leak:
    """Something of one split that is in another too."""

    what: str
    videos: tuple[tuple[str, tuple[str, ...]], ...]  # of each split

    def text(self, most: int | None) -> str:
        """With the names of so many videos of each split, or of all."""
        return f"{self.what} is in " + ", ".join(f"{split} ({_some(names, most)})" for split, names in self.videos)


def _some(names: Sequence[str], most: int | None) -> str:
    more = f" and {len(names) - most} more" if most is not None and len(names) > most else ""
    return ", ".join(names[:most]) + more


def find_leaks(videos: Sequence[Video], contents: Mapping[str, str]) -> list[Leak]:
    """Each person, each file and each fake's original that is in another split too.

    By the names of videos, `contents` has the hashes of their bytes.
    """
    people = ((f"identity '{identity}'", video) for video in videos for identity in video.identities)
    first: dict[str, str] = {}
    copies = ((contents[video.video], video) for video in videos if video.video in contents)
    files = ((f"the file {first.setdefault(content, video.video)}", video) for content, video in copies)
    return [*_in_several_splits(people), *_in_several_splits(files), *_in_several_splits(_footage(videos))]


def _footage(videos: Sequence[Video]) -> Iterator[tuple[str, Video]]:
    by_name = {video.video: video for video in videos}
    for fake in videos:
        for original in fake.made_from:
            if original in by_name:
                yield f"the footage of {original}", by_name[original]
                yield f"the footage of {original}", fake


def _in_several_splits(traits: Iterable[tuple[str, Video]]) -> list[Leak]:
    places: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for what, video in traits:
        places[what][video.split].add(video.video)
    return [
        Leak(what, tuple((split, tuple(sorted(names))) for split, names in sorted(splits.items())))
        for what, splits in sorted(places.items())
        if len(splits) > 1
    ]
