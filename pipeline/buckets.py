"""Buckets: what a URL such as s3://bucket/folder names is worked with as a path is, by universal_pathlib and s3fs.

Two things differ from a disk. An object is put whole or not at all, so nothing needs to be renamed there; and nothing can be
added to the end of one. Keys and addresses are those that every tool of S3's reads: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from pipeline.errors import UserError

S3 = "s3://"


def place(text: str | Path) -> Path:
    """A path; or, of a URL, what can do all that a path can but be opened by a library that wants a file."""
    if not isinstance(text, str):
        return text
    if not text.startswith(S3):
        return Path(text)
    try:
        import s3fs  # noqa: F401  what opens it
        from upath import UPath
    except ImportError as error:
        remedy = "`pip install 'explain-deepfakes[s3]'` adds it, in a checkout '.[s3]'"
        raise UserError(f"{text} needs s3fs, which is not installed; {remedy}") from error
    return cast(Path, UPath(text))


def on_disk(text: str) -> Path:
    """The path that a user names, where nothing else will do."""
    if text.startswith(S3):
        raise UserError(f"{text} is in a bucket, and this must lie on a disk: fetch it, for example by `aws s3 sync`")
    return Path(text)


def reached(text: str) -> Path:
    """The path or URL that a user names; a bucket that cannot be spoken to is said at once."""
    named = place(text)
    if is_in_bucket(named):
        bucket = text.removeprefix(S3).split("/")[0]
        try:
            with _told(named):
                _of(named).fs.call_s3("head_bucket", Bucket=bucket)
        except FileNotFoundError as error:
            raise UserError(f"there is no bucket {S3}{bucket}") from error
    return named


def is_in_bucket(path: Path) -> bool:
    return not isinstance(path, Path)


def within(folder: Path, name: str) -> Path:
    """What is there; the name may begin with `../`."""
    if is_in_bucket(folder):
        return place(S3 + os.path.normpath(f"{str(folder).removeprefix(S3)}/{name}"))
    return Path(os.path.normpath(folder / name))


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The file on a disk: itself, or a copy for as long as the block lasts."""
    if not is_in_bucket(path):
        yield path
        return
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name
        with _told(path):
            _of(path).fs.get_file(_of(path).path, str(copy))
        yield copy


@contextmanager
def atomic_upload(path: Path) -> Iterator[Path]:
    """Yields a path on a disk to write a file or fill a folder at; it goes into the bucket only if the block ends well."""
    with TemporaryDirectory() as scratch:
        made = Path(scratch) / path.name
        yield made
        files, names = [made], [path]
        if made.is_dir():
            files = sorted(file for file in made.rglob("*") if file.is_file())
            names = [path / file.relative_to(made) for file in files]
            remove_from_bucket(path)  # what is in it no more; a file is replaced at once, and never away
        with _told(path):
            _of(path).fs.put([str(file) for file in files], [_of(name).path for name in names])


def remove_from_bucket(path: Path) -> None:
    with _told(path):
        if path.exists():
            _of(path).fs.rm(_of(path).path, recursive=True)


def version_of(path: Path) -> str:
    """Of an object in a bucket: another after each change; empty if it is not there."""
    with _told(path):
        return str(_of(path).fs.info(_of(path).path)["ETag"]) if path.exists() else ""


def _of(path: Path) -> Any:
    """With what only a URL's path has."""
    return path


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What S3's library says, as an error that users are told in one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except FileNotFoundError:
        raise
    except (BotoCoreError, ClientError, OSError) as error:
        raise UserError(f"{path} cannot be reached: {' '.join(str(error).split())}") from error
