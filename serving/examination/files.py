"""The files to examine, and the pages to write about them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError

PAGE_SUFFIX = ".html"
VIDEOS = {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".gif"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def find_files(paths: Sequence[Path], suffixes: set[str]) -> Iterator[Path]:
    """The named files, and in named folders all files with one of the suffixes."""
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
            if not files:
                raise UserError(f"the folder {path} contains no video or picture")
            yield from files
        elif not path.is_file():
            raise UserError(f"there is no file {path}")
        else:
            yield path


def check_report(report: Path | None, files: Sequence[Path], are_crops: bool) -> None:
    """Raise if the report of these files cannot be written there."""
    if report and are_crops:
        raise UserError("--report needs videos or whole pictures; remove --crops or --report")
    if report and report.suffix not in ("", PAGE_SUFFIX) and not report.is_dir():
        raise UserError(f"--report is {report}; name a page that ends in {PAGE_SUFFIX}, or a folder")
    if report and len(files) > 1 and report.suffix == PAGE_SUFFIX:
        raise UserError("--report: there are several files; name a folder for their pages")
