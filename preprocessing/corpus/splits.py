"""The split of each video, and leaks from one split into another.

Identities in the same video, or in copies of the same file, are linked, directly or through others; each group of linked
identities goes into one split. The official split of a video, or of one of its people, takes precedence; then the official
split of others in the group; else a hash of the group decides.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from explain_deepfakes.pipeline.index import SPLITS, Video

SHARES = {"training_set": 0.72, "validation_set": 0.14, "test_set": 0.14}  # of the official lists of FaceForensics++
CONTENT_PREFIX = " "  # of a content hash among identities; no identity contains a space


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
    """Return the split of each video by name.

    `contents` has hashes of the videos by name, and `official` the official split of each identity. Videos without an official
    split go to one of the open splits.
    """
    groups = _link_identities((*item.identities, *_content_identity(contents.get(item.video))) for item in items)
    official_videos: dict[frozenset[str], list[tuple[str, str]]] = defaultdict(list)
    for item in items:
        if item.split in open_splits:
            official_videos[groups[item.identities[0]]].append((item.video, item.split))
    splits = {
        group: _split_of_group(group, official, official_videos.get(group, []), open_splits) for group in set(groups.values())
    }
    return {item.video: item.split or _official_split(item, official) or splits[groups[item.identities[0]]] for item in items}


def _content_identity(content: str | None) -> tuple[str, ...]:
    """Return an identity that links copies of the same file, as if the same person were in them."""
    return (CONTENT_PREFIX + content,) if content else ()


def _official_split(item: Splittable, official: Mapping[str, str]) -> str:
    return next((official[identity] for identity in item.identities if identity in official), "")


def _link_identities(linked: Iterable[tuple[str, ...]]) -> dict[str, frozenset[str]]:
    """Return the group of each identity."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for identities in linked:
        for identity in identities:
            neighbours[identity].update(identities)
    groups: dict[str, frozenset[str]] = {}
    for identity in neighbours:
        if identity not in groups:
            group = frozenset(_reachable_from(identity, neighbours))
            groups.update(dict.fromkeys(group, group))
    return groups


def _reachable_from(identity: str, neighbours: Mapping[str, set[str]]) -> set[str]:
    reached, queue = {identity}, [identity]
    while queue:
        new = neighbours[queue.pop()] - reached
        reached |= new
        queue.extend(new)
    return reached


def _split_of_group(
    group: frozenset[str],
    official: Mapping[str, str],
    official_videos: list[tuple[str, str]],
    open_splits: tuple[str, ...],
) -> str:
    official_splits = [official[identity] for identity in sorted(group) if identity in official]
    official_splits = official_splits or [split for _, split in sorted(official_videos)]
    if official_splits:
        return official_splits[0]
    first = min(identity for identity in group if not identity.startswith(CONTENT_PREFIX))
    position = int(hashlib.sha256(first.encode()).hexdigest()[:8], 16) / 16**8 * sum(SHARES[split] for split in open_splits)
    for split in open_splits:
        position -= SHARES[split]
        if position < 0:
            return split
    return open_splits[-1]


@dataclass(frozen=True)
class Leak:
    """A person, file or original that is in several splits."""

    cause: str
    videos: tuple[tuple[str, tuple[str, ...]], ...]  # splits, and names of their videos

    def text(self, max_names: int | None) -> str:
        """Describe the leak, with at most so many videos of each split; None: all of them."""
        splits = ", ".join(f"{split} ({_format_names(names, max_names)})" for split, names in self.videos)
        return f"{self.cause} is in {splits}"


def _format_names(names: Sequence[str], max_names: int | None) -> str:
    more = f" and {len(names) - max_names} more" if max_names is not None and len(names) > max_names else ""
    return ", ".join(names[:max_names]) + more


def find_leaks(videos: Sequence[Video], contents: Mapping[str, str]) -> list[Leak]:
    """Return the people, files and originals of fakes that are in several splits.

    `contents` has hashes of the videos by name.
    """
    people = ((f"identity '{identity}'", video) for video in videos for identity in video.identities)
    first_copies: dict[str, str] = {}
    copies = ((contents[video.video], video) for video in videos if video.video in contents)
    files = ((f"the file {first_copies.setdefault(content, video.video)}", video) for content, video in copies)
    return [*_in_several_splits(people), *_in_several_splits(files), *_in_several_splits(_footage(videos))]


def _footage(videos: Sequence[Video]) -> Iterator[tuple[str, Video]]:
    by_name = {video.video: video for video in videos}
    for fake in videos:
        for original in fake.made_from:
            if original in by_name:
                yield f"the footage of {original}", by_name[original]
                yield f"the footage of {original}", fake


def _in_several_splits(causes: Iterable[tuple[str, Video]]) -> list[Leak]:
    names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for cause, video in causes:
        names[cause][video.split].add(video.video)
    return [
        Leak(cause, tuple((split, tuple(sorted(videos))) for split, videos in sorted(splits.items())))
        for cause, splits in sorted(names.items())
        if len(splits) > 1
    ]
