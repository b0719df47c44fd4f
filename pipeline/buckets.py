"""Paths in S3 buckets, by universal_pathlib and s3fs: a URL such as s3://bucket/folder is used like a local path.

There are two differences to a disk. An upload is atomic, so nothing has to be renamed; and nothing can be appended to an
object. Credentials and endpoints come from the usual environment variables: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from explain_deepfakes.pipeline.errors import UserError

if TYPE_CHECKING:
    from upath import UPath

S3 = "s3://"


def parse_path(text: str | Path) -> Path:
    """Return a local path, or for a URL a UPath, which has the interface of a path but cannot be opened by other libraries."""
    if not isinstance(text, str):
        return text
    if not text.startswith(S3):
        return Path(text)
    try:
        import s3fs  # noqa: F401  UPath needs it to open s3:// URLs
        from upath import UPath
    except ImportError as error:
        remedy = "run `pip install 'explain-deepfakes[s3]'`, or in a checkout `pip install '.[s3]'`"
        raise UserError(f"{text} needs s3fs, which is not installed; {remedy}") from error
    return cast(Path, UPath(text))


def local_path(text: str) -> Path:
    """Parse a flag that must name a local path."""
    if text.startswith(S3):
        raise UserError(f"{text} is in a bucket, but a local path is required; download it, for example with `aws s3 sync`")
    return Path(text)


def reachable_path(text: str) -> Path:
    """Parse a flag that names a local path or a URL. Raise a UserError if the bucket is not reachable."""
    path = parse_path(text)
    if is_in_bucket(path):
        bucket = text.removeprefix(S3).split("/")[0]
        try:
            with _s3_errors(path):
                _as_upath(path).fs.call_s3("head_bucket", Bucket=bucket)
        except FileNotFoundError as error:
            raise UserError(f"there is no bucket {S3}{bucket}") from error
    return path


def is_in_bucket(path: Path) -> bool:
    return not isinstance(path, Path)


def join_path(folder: Path, name: str) -> Path:
    """Join and normalize; the name may begin with `../`."""
    if is_in_bucket(folder):
        return parse_path(S3 + os.path.normpath(f"{str(folder).removeprefix(S3)}/{name}"))
    return Path(os.path.normpath(folder / name))


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield a local path of the file: the path itself, or a temporary download."""
    if not is_in_bucket(path):
        yield path
        return
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / path.name
        with _s3_errors(path):
            _as_upath(path).fs.get_file(_as_upath(path).path, str(copy))
        yield copy


@contextmanager
def atomic_upload(path: Path) -> Iterator[Path]:
    """Yield a local path for a file or folder, and upload it when the block ends without an error."""
    with TemporaryDirectory() as scratch:
        local = Path(scratch) / path.name
        yield local
        files, targets = [local], [path]
        if local.is_dir():
            files = sorted(file for file in local.rglob("*") if file.is_file())
            targets = [path / file.relative_to(local) for file in files]
            remove_from_bucket(path)  # removes objects that are no longer part of the folder; a single file is just overwritten
        with _s3_errors(path):
            _as_upath(path).fs.put([str(file) for file in files], [_as_upath(target).path for target in targets])


def remove_from_bucket(path: Path) -> None:
    with _s3_errors(path):
        if path.exists():
            _as_upath(path).fs.rm(_as_upath(path).path, recursive=True)


def object_version(path: Path) -> str:
    """Return the ETag of an object, which changes with its content, or an empty string if there is no such object."""
    with _s3_errors(path):
        return str(_as_upath(path).fs.info(_as_upath(path).path)["ETag"]) if path.exists() else ""


def _as_upath(path: Path) -> "UPath":
    return cast("UPath", path)


@contextmanager
def _s3_errors(path: Path) -> Iterator[None]:
    """Turn errors of the S3 libraries into a UserError of one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except FileNotFoundError:
        raise
    except (BotoCoreError, ClientError, OSError) as error:
        raise UserError(f"{path} cannot be reached: {' '.join(str(error).split())}") from error
