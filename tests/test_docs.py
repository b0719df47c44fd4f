"""The documentation: the generated reference is complete, and links lead to existing files and headings."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from explain_deepfakes.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "detector/README.md")),
    ]
)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")  # [text](path#heading), without links to other sites


@pytest.fixture
def docs_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")


def headings_of(page: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and mkdocs give to a heading."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def broken_links_of(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.is_file() or (anchor and anchor not in map(anchor_of, headings_of(target.read_text()))):
            broken.append(link)
    return broken


@pytest.mark.usefixtures("docs_on_path")
def test_the_reference_has_all_commands_and_flags() -> None:
    page = import_module("generate_reference").commands_page()
    assert [heading for heading in headings_of(page)[1:] if " " not in heading] == list(COMMANDS)
    assert "### registry promote" in page
    assert "| `--frames_per_video` | `test: 16` | number of evenly spaced frames of each person |" in page
    assert "| `FILE` |  | videos, pictures, or folders of them |" in page


@pytest.mark.usefixtures("docs_on_path")
def test_the_reference_has_all_settings() -> None:
    page = import_module("generate_reference").settings_page()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert headings_of(page)[1:] == list(settings)
    rows = re.findall(r"^\| `(\w+)` \| `.+` \| .+ \|$", page, re.MULTILINE)
    assert rows == [key for section in settings.values() for key in section]


@pytest.mark.usefixtures("docs_on_path")
def test_the_reference_has_the_http_and_python_interfaces() -> None:
    reference = import_module("generate_api_reference")
    routes = headings_of(reference.http_api_page())
    assert {"POST /api/jobs", "GET /api/jobs/{id}/result", "GET /health", "JobStatus"} <= set(routes)
    page = reference.python_api_page()
    assert "| `verdict` | `str` | real, fake or no verdict |" in page
    assert "::: explain_deepfakes.prediction.Detector.predict" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    assert broken_links_of(page) == []


def test_the_site_lists_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f": {page.name}\n" not in text] == []


def test_the_check_sees_broken_links(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Two words, and more\n")
    page = tmp_path / "a.md"
    page.write_text("[x](b.md#two-words-and-more) [y](b.md#three) [z](c.md) `[code](d.md)` [web](https://example.org)\n")
    assert broken_links_of(page) == ["b.md#three", "c.md"]
