"""Where the pictures of a video's crops lie, written and read: files in a folder of its own, or one uncompressed zip.

A picture's path is <video>/<frame>_<track>.png in the store `folders` and <video>.zip/<frame>_<track>.png in the store
`archives`; both are read alike. No archive stays open between two reads, so that a reader may fork whenever it likes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.outputs import atomic_write
from preprocessing.crops.png import encode_png

if TYPE_CHECKING:
    from preprocessing.video.video import Picture

Put = Callable[[str, bytes], object]  # stores a file's content under its name

FOLDERS, ARCHIVES = "folders", "archives"
STORES = (FOLDERS, ARCHIVES)
ARCHIVE_SUFFIX = ".zip"
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
LOSSLESS = "png"
WHITE = 127  # above it, a pixel of a mask says: manipulated


class UnreadablePicture(UserError):
    """A picture that is missing or broken on disk. Whose it is, is not known here, so nothing is said about removing it."""


class UnreadableCrop(UnreadablePicture):
    """A crop that extract_crops wrote, and can write again."""


def in_store(name: str, store: str) -> str:
    """The name of a video's output, as the store has it."""
    return name + ARCHIVE_SUFFIX if store == ARCHIVES else name


def mask_name(name: str) -> str:
    """The mask of a crop of that name has the same, whatever the crop's format; it is lossless."""
    return Path(name).stem + SUFFIXES[LOSSLESS]


@contextmanager
def fill(output: Path, store: str) -> Iterator[Put]:
    """Yields what stores a picture in a video's output; that is there, whole, only if the block ends well."""
    with atomic_write(output) as unfinished:
        if store == FOLDERS:
            unfinished.mkdir()
            yield lambda name, content: (unfinished / name).write_bytes(content)
        else:
            with zipfile.ZipFile(unfinished, "w") as archive:
                yield partial(_add, archive)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Uncompressed: pictures are that already. The same bytes on every machine and day."""
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system, member.external_attr = 3, 0o644 << 16  # as on Unix: a file that all may read
    archive.writestr(member, content)


def encode_picture(picture: Picture, format: str, quality: int) -> bytes:
    """As the content of a file; `quality` is that of the lossy formats."""
    if format == LOSSLESS:
        return encode_png(picture)
    flag = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}[format]
    done, content = cv2.imencode(SUFFIXES[format], picture[..., ::-1], (flag, quality))
    if not done:
        raise ValueError(f"a picture of {picture.shape} cannot be written as {format}")
    return content.tobytes()


def as_stored(picture: Picture, format: str, quality: int) -> Picture:
    """The pixels that reading gives back: a lossy format changes them."""
    if format == LOSSLESS:
        return picture
    return _decode(encode_picture(picture, format, quality), cv2.IMREAD_COLOR_RGB)


def read_picture(path: Path) -> Picture:
    """Any picture from disk, RGB."""
    return _read(path, cv2.IMREAD_COLOR_RGB)


def read_crop(path: Path) -> Picture:
    """A crop that extract_crops wrote, RGB."""
    return _read_own(path, cv2.IMREAD_COLOR_RGB)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """The ground truth that extract_crops wrote beside a crop: which of its pixels were manipulated."""
    return _read_own(path, cv2.IMREAD_GRAYSCALE) > WHITE


def read_bytes(path: Path) -> bytes:
    """A picture's file, from either store."""
    archive = path.parent
    try:
        in_archive = archive.suffix == ARCHIVE_SUFFIX and archive.is_file()
        return _read_member(archive, path.name) if in_archive else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, KeyError) as error:
        raise _unreadable(path, "is not there") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        if isinstance(error, OSError) and error.filename:  # it cannot be opened: the system's own words say why
            raise
        raise _unreadable(path, "is not a readable picture") from error


def _read_own(path: Path, how: int) -> Picture:
    try:
        return _read(path, how)
    except UnreadablePicture as error:
        raise UnreadableCrop(f"{error}; delete {path.parent}, and run extract_crops again") from error


def _read(path: Path, how: int) -> Picture:
    try:
        return _decode(read_bytes(path), how)
    except ValueError as error:
        raise _unreadable(path, "is not a readable picture") from error


def _unreadable(path: Path, why: str) -> UnreadablePicture:
    return UnreadablePicture(f"{path} {why}")


def _decode(content: bytes, how: int) -> Picture:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), how) if content else None
    if picture is None:
        raise ValueError("these bytes are no picture")
    return np.asarray(picture, np.uint8)


def _read_member(archive: Path, name: str) -> bytes:
    """What is stored uncompressed is a plain slice of the file."""
    facts = archive.stat()
    start, length = _slices(archive, facts.st_mtime_ns, facts.st_size)[name]
    with archive.open("rb", buffering=0) as file:
        file.seek(start)
        return file.read(length)


@lru_cache(maxsize=1024)  # archives; some 3 kB each for 20 crops
def _slices(archive: Path, changed: int, size: int) -> dict[str, tuple[int, int]]:
    """Name -> where its content starts, and its length; looked up anew when the archive has changed."""
    with archive.open("rb") as file, zipfile.ZipFile(file) as members:
        found = {}
        for member in members.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile(f"{member.filename} is compressed")
            file.seek(member.header_offset + 26)
            lengths = file.read(4)  # of the name and of the extra field, which lie between header and content
            start = member.header_offset + 30 + sum(int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
            if start + member.file_size > size:
                raise zipfile.BadZipFile(f"{member.filename} reaches over the end")
            found[member.filename] = start, member.file_size
        return found
