"""Opens video files with PyAV: a whitelist of formats, and the stream that is read. Any version of PyAV can be installed."""

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

# Formats that hold videos or pictures. Those that only refer to other files are missing: concat, hls, dash, sdp, ...
FORMATS = (
    "3g2,apng,asf,av1,avi,bmp_pipe,dv,flv,gif,h264,hevc,image2,ivf,jpeg_pipe,jpegls_pipe,jpegxl_anim,jpegxl_pipe,live_flv,m4v,"
    "matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,vvc,webm,webp_pipe,wtv,yuv4mpegpipe"
)
# The library must not open other files or URLs, neither those in a playlist nor those that match a name such as face%d.png.
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "pattern_type": "none"}
# Titles and comments may have any encoding. PyAV 19 and later always accept that.
METADATA_OPTIONS = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_container(path: str) -> InputContainer:
    """Open a file. Raises av.FFmpegError."""
    try:
        container: InputContainer = av.open(path, options=OPTIONS, **METADATA_OPTIONS)
    except av.error.ArgumentError as error:  # the format is not in the list
        raise av.error.InvalidDataError(error.errno, "its format is not one of videos or pictures", path) from error
    return container


def shown_stream(container: InputContainer) -> VideoStream | None:
    """Return the video stream that players show by default; None if there is none, or only the cover picture of a song."""
    stream = container.streams.best("video")
    if isinstance(stream, VideoStream) and not stream.disposition & Disposition.attached_pic:
        return stream
    return None


def is_animated_webp(path: str) -> bool:
    """FFmpeg reads only WebP pictures without animation."""
    with open(path, "rb") as file:
        header = file.read(21)
    return header[:4] == b"RIFF" and header[8:16] == b"WEBPVP8X" and bool(header[20] & 2)
