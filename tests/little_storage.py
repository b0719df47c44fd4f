"""Object storage of our own: a server that speaks as S3 does, with a bucket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def object_storage() -> Iterator[Any]:
    """Meanwhile, all processes that are started know where it is. Yields the file system that it is to s3fs."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    surroundings = {
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with patch.dict(os.environ, surroundings):
        files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        files.mkdir("faces")
        try:
            yield files
        finally:
            files.rm("faces", recursive=True)  # else the next server in this process has it too
            s3fs.S3FileSystem.clear_instance_cache()  # which knows this one's address
            server.stop()


def objects(files: Any, prefix: str) -> dict[str, bytes]:
    """What is in the bucket below it."""
    return {name.removeprefix(f"faces/{prefix}/"): files.cat_file(name) for name in files.find(f"faces/{prefix}")}


def places(prefix: str) -> tuple[str, ...]:
    """Flags: boxes and crops go there."""
    return "--boxes_path", f"s3://faces/{prefix}/boxes", "--output_path", f"s3://faces/{prefix}/crops"
