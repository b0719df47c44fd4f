"""The project speaks the language of its field: words that readers had to translate do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "preprocessing", "model_test_train", "explain_model", "serving", "BWCluster", "benchmarks")
CODE = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "*.md",
        "docs/*.md",
        "params.yaml",
        "dvc.yaml",
        "model_test_train/configs/**/*.yaml",
        "**/*.j2",
        "serving/page/*",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and path.name != "CHANGELOG.md" and not set(path.relative_to(ROOT).parts) & {".venv", "data", "results"}
)

# Private words, and what to write instead.
IN_TEXTS = {
    r"judg(e|es|ed|ing)": "predictor, score, classify",
    r"lesson": "loss",
    r"doctor": "validation report",
    r"shelf|shelved": "registry",
    r"stranger": "unknown",
    r"upkeep": "update of the outputs",
    r"by heart": "overfit one batch",
    r"left in peace": "true negative",
    r"spoke": "evidence, top-scoring frames",
    r"knobs?": "setting",
    r"taken up|takes up where": "resumed",
    r"(?<![.])tells|told": "reports, prints, returns",  # a weight was called so
    r"anew": "again",
    r"at hand|aside": "local copy, temporary file",
}
WITHIN_IDENTIFIERS = """
    judge judges judged judging lesson team shelf shelved told tell meet said upkeep due aside floors grain looks moves mixes
    house orders room stranger spoke asked ask found given made doctor
"""
WHOLE_IDENTIFIERS = "one place places say put whole alone child gaze figures wanted taken"
# Published keys (a column of the index, a field of the evidence), names of weights, and exceptions of Python.
ALLOWED = {
    "made_from", "connection_made", "judged_by", "mixes", "looks",
    "FileNotFoundError", "ModuleNotFoundError", "PackageNotFoundError", "grain_share",
}  # fmt: skip


def identifiers_of(tree: ast.Module) -> Iterator[str]:
    """The names that the module gives to things."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def private_words_in(identifier: str) -> set[str]:
    if identifier in ALLOWED:
        return set()
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}
    return words & set(WITHIN_IDENTIFIERS.split()) or {identifier.lower().strip("_")} & set(WHOLE_IDENTIFIERS.split())


def private_words_in_text(text: str) -> list[str]:
    return [
        f"{word[0]!r}: write {instead}"
        for words, instead in IN_TEXTS.items()
        for word in re.finditer(rf"(?i)\b({words})\b", text)
    ]


@pytest.mark.parametrize("file", CODE, ids=str)
def test_identifiers_are_conventional(file: Path) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert sorted({name for name in identifiers_of(tree) if private_words_in(name)}) == []


@pytest.mark.parametrize("file", [*CODE, *PAGES], ids=str)
def test_messages_comments_and_pages_are_conventional(file: Path) -> None:
    assert private_words_in_text((ROOT / file).read_text()) == []


def test_few_types_are_unknown() -> None:
    files = [*CODE, *(path.relative_to(ROOT) for path in (ROOT / "tests").glob("*.py"))]
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines() if re.search(r"\bAny\b", line)]
    assert len(lines) < 100


def test_the_check_sees_private_words() -> None:
    tree = ast.parse("def tell(one, JudgedVideo): self.was_told = FileNotFoundError = made_from = 1")
    assert {name for name in identifiers_of(tree) if private_words_in(name)} == {"tell", "one", "JudgedVideo", "was_told"}
    assert private_words_in_text("It judges videos.") == ["'judges': write predictor, score, classify"]
    assert private_words_in_text("A judgement, a team.") == []
