"""Unpack an LMDB of DeepfakeBench into folders, which all commands read.

Its keys are paths with backslashes; its values are the bytes of a picture, or the raw numbers of 81 landmarks.
"""

from argparse import Namespace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_bytes
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.preprocessing.corpus.layouts.records import to_posix

LANDMARKS, LANDMARKS_SHAPE = ".npy", (81, 2)


def unpack(args: Namespace) -> None:
    """Write each value to the path of its key. Files that exist already are kept, so the command can be repeated."""
    try:
        import lmdb
    except ImportError as error:
        raise UserError("lmdb is not installed; run `pip install lmdb`") from error
    if not args.name.exists():
        raise UserError(f"there is no LMDB {args.name}")
    try:
        environment = lmdb.open(str(args.name), readonly=True, lock=False, subdir=args.name.is_dir())
    except lmdb.Error as error:
        raise UserError(f"{args.name} is not an LMDB ({error})") from error
    with environment, environment.begin() as transaction:
        count = transaction.stat()["entries"]
        for key, value in track(iter(transaction.cursor()), count, "unpacking", "files"):
            write_value(args.output_path, key, value)
    print(f"{count} files in {args.output_path}; index them with the list of DeepfakeBench: `index --manifest LIST.json`")


def write_value(folder: Path, key: bytes, value: bytes) -> None:
    name = to_posix(key.decode(errors="replace"))
    if not is_inside(name):
        raise UserError(f"the key {key!r} is not a path below a folder; this LMDB is not one of DeepfakeBench")
    path = folder / name
    if path.is_file():
        return
    if path.suffix == LANDMARKS and not value.startswith(b"\x93NUMPY"):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.frombuffer(value, landmark_type(value)).reshape(LANDMARKS_SHAPE))
    else:
        write_bytes(path, value)


def is_inside(name: PurePosixPath) -> bool:
    return bool(name.parts) and ".." not in name.parts and not name.is_absolute() and ":" not in name.parts[0]


def landmark_type(value: bytes) -> Any:
    """The type of the numbers, by their size in bytes."""
    numbers = LANDMARKS_SHAPE[0] * LANDMARKS_SHAPE[1]
    types = {4 * numbers: np.float32, 8 * numbers: np.float64, 2 * numbers: np.float16}
    if len(value) not in types:
        raise UserError(
            f"landmarks of {len(value)} bytes are not {LANDMARKS_SHAPE[0]} points; this LMDB is not one of DeepfakeBench"
        )
    return types[len(value)]
