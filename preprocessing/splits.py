"""Which split a video belongs to: no identity may stand in two.

Identities that occur in one video belong together, and so do the ones tied to these in turn: such a group goes into
one split as a whole. The official lists decide where they know one of its identities, else a hash of the group does.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.errors import UserError
from pipeline.index import SPLITS, Video

OFFICIAL_FILES = {"train.json": "training_set", "val.json": "validation_set", "test.json": "test_set"}
SHARES = {"training_set": 0.72, "validation_set": 0.14, "test_set": 0.14}  # as the official lists have it
SHOWN = 5  # of the leaks found


def read_official_splits(folder: Path) -> dict[str, str]:
    """The split of each identity, from lists of pairs of identities; empty if the folder holds none of the lists."""
    splits: dict[str, str] = {}
    for name, split in OFFICIAL_FILES.items():
        path = folder / name
        for identity in _identities_in(path) if path.is_file() else ():
            if splits.setdefault(identity, split) != split:
                raise UserError(f"{path}: '{identity}' stands in {splits[identity]} too; a person belongs in one split")
    return splits


def _identities_in(path: Path) -> list[str]:
    try:
        pairs = json.loads(path.read_text())
        return [str(identity) for pair in pairs for identity in pair]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a JSON list of pairs of identities") from error


def assign_splits(people: Mapping[str, tuple[str, ...]], official: Mapping[str, str]) -> dict[str, str]:
    """The split of each video, given who is in it."""
    for video, identities in people.items():
        listed = {identity: official[identity] for identity in identities if identity in official}
        if len(set(listed.values())) > 1:
            where = ", ".join(f"'{identity}' in {split}" for identity, split in listed.items())
            raise UserError(f"{video} joins people of different splits ({where}); take it out of the data")
    groups = _groups(people.values())
    splits = {group: _split_of(group, official) for group in set(groups.values())}
    return {video: splits[groups[identities[0]]] for video, identities in people.items()}


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


def _split_of(group: frozenset[str], official: Mapping[str, str]) -> str:
    listed = {identity: official[identity] for identity in sorted(group) if identity in official}
    if len(set(listed.values())) > 1:
        where = ", ".join(f"'{identity}' in {split}" for identity, split in listed.items())
        raise UserError(f"fakes between people outside of the official splits join people inside of them: {where}")
    if listed:
        return next(iter(listed.values()))
    drawn = int(hashlib.sha256(min(group).encode()).hexdigest()[:8], 16) / 16**8
    for split in SPLITS:
        drawn -= SHARES[split]
        if drawn < 0:
            return split
    return SPLITS[-1]


def check_leaks(videos: Iterable[Video]) -> None:
    """No person and no file may stand in two splits."""
    leaks = sorted(_leaks(list(videos)))
    if leaks:
        more = f"; and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
        raise UserError(f"the splits leak: {'; '.join(leaks[:SHOWN])}{more}")


def _leaks(videos: list[Video]) -> Iterator[str]:
    seen: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for video in videos:
        for trait in (*(("identity", identity) for identity in video.identities), ("content", video.content)):
            seen[trait].setdefault(video.split, video.video)
    for (kind, value), places in seen.items():
        if len(places) > 1:
            where = ", ".join(f"{split} ({video})" for split, video in sorted(places.items()))
            yield f"identity '{value}' is in {where}" if kind == "identity" else f"the same file is in {where}"
