"""What there is to say of a corpus, as lines of text: a table of what is there, then what is wrong and how to mend it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.index import FAKE, REAL, SPLITS, Video
from preprocessing.corpus.corpus import WAYS_PAST_LEAKS, Corpus

HEADINGS = ("split", "videos", "hours", "missing", "broken", "duplicates", "without mask")
SHOWN = 3  # examples of each kind of trouble, unless all are asked for
READY = "ready"
KINDS = {REAL: "real", FAKE: "fake"}


@dataclass
class Count:
    videos: int = 0
    seconds: float = 0.0
    missing: int = 0
    broken: int = 0
    duplicates: int = 0
    without_mask: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def cells(self) -> tuple[object, ...]:
        hours = f"{self.seconds / 3600:.2f}"
        return self.videos, hours, self.missing, self.broken, self.duplicates, self.without_mask


@dataclass(frozen=True)
class Finding:
    """Something to know of a corpus: a note, or so many problems of a kind."""

    text: str
    problems: int = 0
    kind: str = ""  # of one of them


def report_on(corpus: Corpus, in_full: bool = False) -> Iterator[str]:
    """`in_full`: every file that something is wrong with, instead of some examples; and how many problems there are."""
    yield f"{corpus.tree.dataset} in {corpus.tree.root}"
    yield from table(corpus)
    found = list(findings(corpus, in_full))
    yield from (f"- {finding.text}" for finding in found)
    if in_full:
        yield summary(found)


def summary(found: Sequence[Finding]) -> str:
    """In a line; `ready` if there is no problem."""
    kinds = Counter[str]()
    for finding in found:
        kinds[finding.kind] += finding.problems
    listed = ", ".join(counted(number, kind) for kind, number in kinds.items() if number)
    return f"{counted(kinds.total(), 'problem')}: {listed}" if listed else READY


def counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def table(corpus: Corpus) -> Iterator[str]:
    """Of each method in each split, and of all."""
    counts = _counts(corpus)
    wide = max(len("method"), *(len(method) for method, _ in counts)) + 2
    yield _row(wide, "method", HEADINGS)
    for (method, split), count in sorted(counts.items(), key=lambda entry: (entry[0][0], SPLITS.index(entry[0][1]))):
        yield _row(wide, method, (split, *count.cells()))
    yield _row(wide, "all", ("", *sum(counts.values(), Count()).cells()))


def _row(wide: int, method: str, cells: Sequence[object]) -> str:
    numbers = (f"{cell!s:>{max(9, len(heading) + 2)}}" for cell, heading in zip(cells[1:], HEADINGS[1:], strict=True))
    return f"{method:<{wide}}{cells[0]!s:<14}{''.join(numbers)}"


def _counts(corpus: Corpus) -> dict[tuple[str, str], Count]:
    counts: dict[tuple[str, str], Count] = defaultdict(Count)
    copies = {video.video for same in _same_files(corpus) for video in same[1:]}
    for video in corpus.videos:
        count, facts = counts[video.method, video.split], corpus.facts[video.video]
        count.videos += 1
        count.seconds += facts.seconds
        count.broken += bool(facts.problem)
        count.duplicates += video.video in copies
        count.without_mask += video.label == FAKE and not video.mask
    for item, split in corpus.missing:
        counts[item.method, split].missing += 1
    return counts


def _same_files(corpus: Corpus) -> list[list[Video]]:
    same: dict[str, list[Video]] = defaultdict(list)
    for video in corpus.videos:
        if corpus.facts[video.video].has_pictures:
            same[video.content].append(video)
    return [videos for videos in same.values() if len(videos) > 1]


def findings(corpus: Corpus, in_full: bool) -> Iterator[Finding]:
    most = None if in_full else SHOWN
    yield from map(Finding, corpus.tree.notes)
    yield from _empty_splits(corpus)
    yield from _of_files(corpus, most)
    for videos in _same_files(corpus)[:most]:
        names = " = ".join(video.video for video in videos)
        if len({video.label for video in videos}) > 1:
            what = "the same file is called both real and fake, so one label is wrong; take out all but one"
            yield Finding(f"{names}: {what}", 1, "file of two labels")
        else:
            yield Finding(f"{names}: the same file; take out all but one")
    yield from _leaks(corpus, in_full)


def _of_files(corpus: Corpus, most: int | None) -> Iterator[Finding]:
    """What is wrong with single files, those of one reason together."""
    kinds: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    for unfit in corpus.tree.unfit:
        is_problem = not (unfit.note or unfit.skipped)  # to skip what is not known was asked for
        kinds[unfit.reason, unfit.remedy, "unfit file" if is_problem else ""].append(unfit.path)
    for item in corpus.tree.items:
        if problem := corpus.facts[item.video].problem:
            reason = f"{problem}; detection will list it as failed"
            kinds[reason, "fetch it again, or take it out", "broken file"].append(item.path)
    for item, _ in corpus.missing:
        kinds["it is missing, though the corpus's own lists name it", "fetch it", "missing file"].append(item.path)
    for (reason, remedy, kind), paths in sorted(kinds.items()):
        text = f"{_some([_name(path, corpus) for path in paths], most)}: {reason}; {remedy}"
        yield Finding(text, len(paths) if kind else 0, kind)


def _leaks(corpus: Corpus, in_full: bool) -> Iterator[Finding]:
    """Where they stop the command, it names some itself, unless all are asked for."""
    allowed = corpus.source.allow_leaks
    if in_full or allowed:
        for leak in corpus.leaks if in_full else corpus.leaks[:SHOWN]:
            yield Finding(f"leak: {leak.text(None if in_full else SHOWN)}", 0 if allowed else 1, "leak")
    if corpus.leaks and allowed:
        passed = counted(len(corpus.leaks), "leak")
        yield Finding(f"allow_leaks lets {passed} from split to split pass: figures over these splits flatter")
    elif corpus.leaks and in_full:
        yield Finding(f"the splits leak; {WAYS_PAST_LEAKS}")


def _empty_splits(corpus: Corpus) -> Iterator[Finding]:
    kinds = Counter((video.split, video.label) for video in corpus.videos)
    for split in SPLITS:
        none = [name for label, name in KINDS.items() if not kinds[split, label]]
        if none:
            use = "nothing can be learned" if split == SPLITS[0] else "nothing can be measured"
            text = f"the {split} holds no {' and no '.join(none)} videos, so {use} there; add videos of more people"
            yield Finding(text, 1, "incomplete split")


def _some(names: Sequence[str], most: int | None) -> str:
    if len(names) <= SHOWN:
        return ", ".join(sorted(names))
    if most is None:
        return "".join(f"{name}\n  " for name in sorted(names)) + f"these {len(names)} files"
    return f"{len(names)} files, such as {', '.join(sorted(names)[:most])}"


def _name(path: Path, corpus: Corpus) -> str:
    below = path.relative_to(corpus.tree.root) if path.is_relative_to(corpus.tree.root) else path
    return str(below).encode(errors="backslashreplace").decode()
