"""The dataset validation report, as lines of text: a table of the videos, then all problems and how to fix them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.index import FAKE, REAL, SPLITS, Video
from explain_deepfakes.preprocessing.corpus.corpus import LEAK_REMEDIES, Corpus
from explain_deepfakes.preprocessing.corpus.params import TEST_ONLY

HEADINGS = ("split", "videos", "hours", "missing", "broken", "duplicates", "without mask")
MAX_EXAMPLES = 3  # of each kind of problem, unless the report is in full
READY = "ready"
LABEL_NAMES = {REAL: "real", FAKE: "fake"}


@dataclass
class VideoCount:
    """A row of the table."""

    videos: int = 0
    seconds: float = 0.0
    missing: int = 0
    broken: int = 0
    duplicates: int = 0
    without_mask: int = 0

    def __add__(self, other: "VideoCount") -> "VideoCount":
        return VideoCount(*(first + second for first, second in zip(vars(self).values(), vars(other).values(), strict=True)))

    def cells(self) -> tuple[object, ...]:
        hours = f"{self.seconds / 3600:.2f}"
        return self.videos, hours, self.missing, self.broken, self.duplicates, self.without_mask


@dataclass(frozen=True)
class ReportItem:
    """A note on the corpus, or a number of problems of one kind."""

    text: str
    problems: int = 0
    kind: str = ""  # of the problems, in the singular


def report_lines(corpus: Corpus, in_full: bool = False) -> Iterator[str]:
    """Yield the lines. `in_full` lists all files instead of examples, and adds a line with the number of problems."""
    yield f"{corpus.tree.dataset} in {corpus.tree.root}"
    yield from table_lines(corpus)
    items = list(report_items(corpus, in_full))
    yield from (f"- {item.text}" for item in items)
    if in_full:
        yield summary_line(items)


def summary_line(items: Sequence[ReportItem]) -> str:
    """Return the number of problems of each kind; `ready` if there is none."""
    problems = Counter[str]()
    for item in items:
        problems[item.kind] += item.problems
    counts = ", ".join(pluralise(count, kind) for kind, count in problems.items() if count)
    return f"{pluralise(problems.total(), 'problem')}: {counts}" if counts else READY


def pluralise(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def table_lines(corpus: Corpus) -> Iterator[str]:
    """Yield a row for each method in each split, and one for the total."""
    counts = _count_videos(corpus)
    width = max(len("method"), *(len(method) for method, _ in counts)) + 2
    yield _format_row(width, "method", HEADINGS)
    for (method, split), count in sorted(counts.items(), key=lambda entry: (entry[0][0], SPLITS.index(entry[0][1]))):
        yield _format_row(width, method, (split, *count.cells()))
    yield _format_row(width, "all", ("", *sum(counts.values(), VideoCount()).cells()))


def _format_row(width: int, method: str, cells: Sequence[object]) -> str:
    numbers = (f"{cell!s:>{max(9, len(heading) + 2)}}" for cell, heading in zip(cells[1:], HEADINGS[1:], strict=True))
    return f"{method:<{width}}{cells[0]!s:<14}{''.join(numbers)}"


def _count_videos(corpus: Corpus) -> dict[tuple[str, str], VideoCount]:
    counts: dict[tuple[str, str], VideoCount] = defaultdict(VideoCount)
    duplicates = {video.video for copies in _find_copies(corpus) for video in copies[1:]}
    for video in corpus.videos:
        count, facts = counts[video.method, video.split], corpus.facts[video.video]
        count.videos += 1
        count.seconds += facts.seconds
        count.broken += bool(facts.problem)
        count.duplicates += video.video in duplicates
        count.without_mask += video.label == FAKE and not video.mask
    for item, split in corpus.missing:
        counts[item.method, split].missing += 1
    return counts


def _find_copies(corpus: Corpus) -> list[list[Video]]:
    """Return groups of videos with the same content."""
    by_content: dict[str, list[Video]] = defaultdict(list)
    for video in corpus.videos:
        if corpus.facts[video.video].has_pictures:
            by_content[video.content].append(video)
    return [videos for videos in by_content.values() if len(videos) > 1]


def report_items(corpus: Corpus, in_full: bool) -> Iterator[ReportItem]:
    max_examples = None if in_full else MAX_EXAMPLES
    yield from map(ReportItem, corpus.tree.notes)
    yield from _incomplete_splits(corpus)
    yield from _file_problems(corpus, max_examples)
    for videos in _find_copies(corpus)[:max_examples]:
        names = " = ".join(video.video for video in videos)
        if len({video.label for video in videos}) > 1:
            text = f"{names}: the same file is labelled both real and fake, so one label is wrong; remove all copies but one"
            yield ReportItem(text, 1, "file of two labels")
        else:
            yield ReportItem(f"{names}: the same file; remove all copies but one")
    yield from _leaks(corpus, in_full)


def _file_problems(corpus: Corpus, max_examples: int | None) -> Iterator[ReportItem]:
    """Yield the problems of single files, grouped by reason."""
    paths_by_problem: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    for problem in corpus.tree.problems:
        is_problem = not (problem.note or problem.skipped)  # folders are skipped only if the user allowed it
        paths_by_problem[problem.reason, problem.remedy, "unfit file" if is_problem else ""].append(problem.path)
    for item in corpus.tree.items:
        if reason := corpus.facts[item.video].problem:
            reason = f"{reason}; face detection will report it as failed"
            paths_by_problem[reason, "download it again, or remove it", "broken file"].append(item.path)
    for item, _ in corpus.missing:
        reason = "it is missing, although the lists of the corpus name it"
        paths_by_problem[reason, "download it", "missing file"].append(item.path)
    for (reason, remedy, kind), paths in sorted(paths_by_problem.items()):
        text = f"{_format_names([_display_name(path, corpus) for path in paths], max_examples)}: {reason}; {remedy}"
        yield ReportItem(text, len(paths) if kind else 0, kind)


def _leaks(corpus: Corpus, in_full: bool) -> Iterator[ReportItem]:
    """Yield the leaks. Leaks that stop the command are in its error message, so only a report in full repeats them."""
    allowed = corpus.params.allow_leaks
    if in_full or allowed:
        for leak in corpus.leaks if in_full else corpus.leaks[:MAX_EXAMPLES]:
            yield ReportItem(f"leak: {leak.text(None if in_full else MAX_EXAMPLES)}", 0 if allowed else 1, "leak")
    if corpus.leaks and allowed:
        leaks = pluralise(len(corpus.leaks), "leak")
        yield ReportItem(f"allow_leaks permits {leaks} between splits: metrics on these splits are too optimistic")
    elif corpus.leaks and in_full:
        yield ReportItem(f"the splits leak; {LEAK_REMEDIES}")


def _incomplete_splits(corpus: Corpus) -> Iterator[ReportItem]:
    counts = Counter((video.split, video.label) for video in corpus.videos)
    for split in SPLITS if corpus.params.splits != TEST_ONLY else SPLITS[-1:]:
        absent = [name for label, name in LABEL_NAMES.items() if not counts[split, label]]
        if absent:
            purpose = "training" if split == SPLITS[0] else "evaluation"
            text = (
                f"the {split} holds no {' and no '.join(absent)} videos, so {purpose} is impossible; add videos of more people"
            )
            yield ReportItem(text, 1, "incomplete split")


def _format_names(names: Sequence[str], max_names: int | None) -> str:
    if len(names) <= MAX_EXAMPLES:
        return ", ".join(sorted(names))
    if max_names is None:
        return "".join(f"{name}\n  " for name in sorted(names)) + f"these {len(names)} files"
    return f"{len(names)} files, such as {', '.join(sorted(names)[:max_names])}"


def _display_name(path: Path, corpus: Corpus) -> str:
    relative_path = path.relative_to(corpus.tree.root) if path.is_relative_to(corpus.tree.root) else path
    return str(relative_path).encode(errors="backslashreplace").decode()
