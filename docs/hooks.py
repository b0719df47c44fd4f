"""Hooks of mkdocs: add the generated reference, and files of the repository that pages link to, to the site.

A link to a file outside of docs/ works on GitHub as it is. For the site, the file is copied to the same path below the site's
root, and the link is rewritten. Links to params.yaml lead to the page of the reference that is generated from it.
"""

import os
import re
from pathlib import Path, PurePosixPath

from generate_api_reference import http_api_page, python_api_page
from generate_reference import commands_page, settings_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES_OUTSIDE = ("detector/README.md", "CHANGELOG.md", "CONTRIBUTING.md")
REFERENCE = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/http-api.md": http_api_page,
    "reference/python-api.md": python_api_page,
}
GENERATED = {"params.yaml": "reference/settings.md"}  # instead of a file of the repository
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")  # the path in [text](path#heading)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, generate in REFERENCE.items():
        files.append(File.generated(config, path, content=generate()))
    pages = [*(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")), *PAGES_OUTSIDE]
    linked = {in_repository(link, page) for page in pages for link in LINK.findall((ROOT / page).read_text())}
    for path in sorted(linked | set(PAGES_OUTSIDE)):
        if not path.startswith("docs/") and path not in GENERATED and (ROOT / path).is_file():
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    source = page.file.src_uri
    if source.startswith("reference/"):
        return markdown
    in_docs = page.file.generated_by is None
    here = PurePosixPath(source).parent

    def rewrite(link: re.Match[str]) -> str:
        target = in_repository(link[0], f"docs/{source}" if in_docs else source)
        in_site = GENERATED.get(target, target.removeprefix("docs/"))
        return os.path.relpath(in_site, here).replace(os.sep, "/")

    return LINK.sub(rewrite, markdown)


def in_repository(link: str, page: str) -> str:
    """The path in the repository of a file that a page links to."""
    return os.path.normpath(os.path.join(os.path.dirname(page), link)).replace(os.sep, "/")
