"""A local S3 server with a bucket."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from s3fs import S3FileSystem


@contextmanager
def object_storage() -> Iterator["S3FileSystem"]:
    """Run the server, and point new processes to it by environment variables. Yields its s3fs file system."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with patch.dict(os.environ, environment):
        files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        files.mkdir("faces")
        try:
            yield files
        finally:
            files.rm("faces", recursive=True)  # else the next server in this process has it, too
            s3fs.S3FileSystem.clear_instance_cache()  # its instances keep this server's address
            server.stop()


def objects(files: "S3FileSystem", prefix: str) -> dict[str, bytes]:
    """Return the contents of the bucket below the prefix."""
    return {name.removeprefix(f"faces/{prefix}/"): files.cat_file(name) for name in files.find(f"faces/{prefix}")}


def storage_flags(prefix: str) -> tuple[str, ...]:
    """Return the flags that write boxes and crops to the bucket."""
    return "--boxes_path", f"s3://faces/{prefix}/boxes", "--output_path", f"s3://faces/{prefix}/crops"
