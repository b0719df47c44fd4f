"""Opens video files with PyAV, whichever of its versions is installed."""

import av
from av.container import InputContainer

# The library must not open other files or URLs, neither those in a playlist nor those that match a name such as face%d.png.
OPTIONS = {"protocol_whitelist": "file", "pattern_type": "none"}
# Titles and comments may have any encoding. PyAV 19 and later always accept that.
METADATA_OPTIONS = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_container(path: str) -> InputContainer:
    container: InputContainer = av.open(path, options=OPTIONS, **METADATA_OPTIONS)
    return container
