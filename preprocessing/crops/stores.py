"""Write and read the pictures of a video's crops: in a folder, or in an uncompressed zip archive.

The path of a picture is <video>/<frame>_<track>.png in the store `folders` and <video>.zip/<frame>_<track>.png in the store
`archives`; both are read in the same way. No archive stays open between two reads, so that readers can fork at any time.
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

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import atomic_write
from explain_deepfakes.preprocessing.crops.params import ARCHIVES, FOLDERS, LOSSLESS, SUFFIXES
from explain_deepfakes.preprocessing.crops.png import encode_png

if TYPE_CHECKING:
    from explain_deepfakes.preprocessing.video.video import Picture

PictureWriter = Callable[[str, bytes], object]  # writes the content of a file under its name

ARCHIVE_SUFFIX = ".zip"
WHITE = 127  # mask pixels above it are manipulated


class UnreadablePicture(UserError):
    """A picture that is missing or damaged. It may be the user's own file, so the message does not advise deleting it."""


class UnreadableCrop(UnreadablePicture):
    """A missing or damaged crop, which extract_crops can write again."""


def output_name(name: str, store: str) -> str:
    """Return the name of a video's output in this store."""
    return name + ARCHIVE_SUFFIX if store == ARCHIVES else name


def mask_name(name: str) -> str:
    """Return the name of a crop's mask, which is lossless in all formats of crops."""
    return Path(name).stem + SUFFIXES[LOSSLESS]


@contextmanager
def picture_writer(output: Path, store: str) -> Iterator[PictureWriter]:
    """Yield a function that writes pictures to a video's output, which exists only once the block ends without an error."""
    with atomic_write(output) as unfinished:
        if store == FOLDERS:
            unfinished.mkdir()
            yield lambda name, content: (unfinished / name).write_bytes(content)
        else:
            with zipfile.ZipFile(unfinished, "w") as archive:
                yield partial(_write_member, archive)


def _write_member(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file without compression, since pictures are compressed. The bytes are the same on every machine and date."""
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system, member.external_attr = 3, 0o644 << 16  # as on Unix, readable for all
    archive.writestr(member, content)


def encode_picture(picture: Picture, format: str, quality: int) -> bytes:
    """Return the content of a picture file; `quality` applies to lossy formats."""
    if format == LOSSLESS:
        return encode_png(picture)
    flag = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}[format]
    succeeded, content = cv2.imencode(SUFFIXES[format], picture[..., ::-1], (flag, quality))
    if not succeeded:
        raise ValueError(f"a picture of {picture.shape} cannot be written as {format}")
    return content.tobytes()


def as_stored(picture: Picture, format: str, quality: int) -> Picture:
    """Return the picture as it is read back from disk: a lossy format changes the pixels."""
    if format == LOSSLESS:
        return picture
    return _decode(encode_picture(picture, format, quality), cv2.IMREAD_COLOR_RGB)


def read_picture(path: Path) -> Picture:
    """Read any picture as RGB."""
    return _read(path, cv2.IMREAD_COLOR_RGB)


def read_crop(path: Path) -> Picture:
    """Read a crop of extract_crops as RGB."""
    return _read_crop_file(path, cv2.IMREAD_COLOR_RGB)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read the mask of a crop from extract_crops: true for manipulated pixels."""
    return _read_crop_file(path, cv2.IMREAD_GRAYSCALE) > WHITE


def read_bytes(path: Path) -> bytes:
    """Return the content of a picture file, from either store."""
    archive = path.parent
    try:
        in_archive = archive.suffix == ARCHIVE_SUFFIX and archive.is_file()
        return _read_member(archive, path.name) if in_archive else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, KeyError) as error:
        raise _unreadable(path, "does not exist") from error
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        if isinstance(error, OSError) and error.filename:  # opening failed: the message of the system is more precise
            raise
        raise _unreadable(path, "is not a readable picture") from error


def _read_crop_file(path: Path, mode: int) -> Picture:
    try:
        return _read(path, mode)
    except UnreadablePicture as error:
        raise UnreadableCrop(f"{error}; delete {path.parent}, and run extract_crops again") from error


def _read(path: Path, mode: int) -> Picture:
    try:
        return _decode(read_bytes(path), mode)
    except ValueError as error:
        raise _unreadable(path, "is not a readable picture") from error


def _unreadable(path: Path, problem: str) -> UnreadablePicture:
    return UnreadablePicture(f"{path} {problem}")


def _decode(content: bytes, mode: int) -> Picture:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), mode) if content else None
    if picture is None:
        raise ValueError("the content is not a picture")
    return np.asarray(picture, np.uint8)


def _read_member(archive: Path, name: str) -> bytes:
    """Read a member of an archive. Without compression, it is a slice of the file."""
    stat = archive.stat()
    start, length = _read_slices(archive, stat.st_mtime_ns, stat.st_size)[name]
    with archive.open("rb", buffering=0) as file:
        file.seek(start)
        return file.read(length)


@lru_cache(maxsize=1024)  # archives; about 3 kB each for 20 crops
def _read_slices(archive: Path, mtime_ns: int, size: int) -> dict[str, tuple[int, int]]:
    """Return start and length of each member by name. They are read again when the archive has changed."""
    with archive.open("rb") as file, zipfile.ZipFile(file) as members:
        slices = {}
        for member in members.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile(f"{member.filename} is compressed")
            file.seek(member.header_offset + 26)
            lengths = file.read(4)  # of the name and the extra field, which are between header and content
            start = member.header_offset + 30 + sum(int.from_bytes(lengths[offset : offset + 2], "little") for offset in (0, 2))
            if start + member.file_size > size:
                raise zipfile.BadZipFile(f"{member.filename} extends beyond the end of the file")
            slices[member.filename] = start, member.file_size
        return slices
