"""A corpus of broken and unusual videos with the expected outcome of each: `python tests/strange_videos.py FOLDER`.

Writes FOLDER/real/* and a table of them, FOLDER/list.csv. The files are the same every time.
"""

import csv
import os
import struct
import sys
import wave
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from little_videos import HEIGHT, WIDTH, draw_face, plain
from PIL import Image

FRAMES = 8
BOXES, FAILURE, EITHER = "boxes", "failure", "either"
NO_VIDEO = "cannot be opened|no video stream|no frame of it can be decoded"
ANY_REASON = f"{NO_VIDEO}|no face was found|megapixels|memory|codec"

Pictures = Iterable[np.ndarray]


@dataclass(frozen=True)
class Strange:
    name: str
    what: str
    outcome: str
    reason: str = ""  # regular expression for the failure's reason
    frames: int | None = None  # number of frames, where it is certain
    size: str = ""  # of the upright picture, where that is the point


class Corpus:
    """A folder of files, and the expected outcome of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "real"
        self.folder.mkdir(parents=True)
        self.files: list[Strange] = []
        self.bases: dict[str, bytes] = {}

    def path(self, name: str) -> Path:
        """Return the path for a name, h264_mp4.mp4 for h264.mp4, so that the stems are unique, too."""
        return self.folder / f"{name.replace('.', '_')}{Path(name).suffix}"

    def note(self, name: str, what: str, outcome: str, reason: str = "", frames: int | None = None, size: str = "") -> None:
        self.files.append(Strange(self.path(name).name, what, outcome, reason, frames, size))

    def write(
        self,
        name: str,
        content: bytes,
        what: str,
        outcome: str,
        reason: str = "",
        frames: int | None = None,
        size: str = "",
    ) -> None:
        self.path(name).write_bytes(content)
        self.note(name, what, outcome, reason, frames, size)

    def healthy(self, name: str, what: str, codec: str, pictures: Pictures | None = None, **options: Any) -> None:
        """Write a video with a face in every frame, and keep it as a base for derived files."""
        frames = options.pop("frames", FRAMES)
        pictures = list(face(frames)) if pictures is None else list(pictures)
        encode(self.path(name), codec, pictures, **options)
        self.bases[name] = self.path(name).read_bytes()
        self.note(name, what, BOXES, frames=len(pictures))


def face(frames: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[np.ndarray]:
    for index in range(frames):
        picture = np.full((height, width, 3), 110, np.uint8)
        yield draw_face(picture, width // 2 - 12 + 3 * index, height // 2)


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """SVT-AV1, run by root, gives its caller the highest real-time priority, which starves all other processes."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@usual_scheduling()
def encode(
    path: Path,
    codec: str,
    pictures: Sequence[np.ndarray],
    pixels: str = "yuv420p",
    container: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,  # ms
    turned: int = 0,
    colour: dict[str, int] | None = None,
    fmt: str | None = None,
) -> None:
    quiet = {"x265-params": "log-level=none:pools=1:frame-threads=1"} if codec == "libx265" else {}
    options = {"fflags": "+bitexact", **(container or {})}
    with av.open(str(path), "w", format=fmt, options=options) as file:
        stream: av.VideoStream = file.add_stream(codec, rate=25, options={"threads": "1", **quiet, **(codec_options or {})})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        for name, value in (colour or {}).items():
            setattr(stream.codec_context, name, value)
        if turned:
            stream.set_display_rotation(turned)
        if times:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            if pixels.startswith("yuv"):
                to = {"dst_color_range": "JPEG"} if (colour or {}).get("color_range") == 2 else {}
                frame = frame.reformat(format=pixels, **to)
            if times:
                frame.pts, frame.time_base = times[index], stream.codec_context.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def add_codecs(corpus: Corpus) -> None:
    """Add healthy videos, of which every frame is kept."""
    add = corpus.healthy
    early = {"movflags": "faststart"}
    add("h264.mp4", "H.264, header at the end", "libx264")
    add("h264_early.mp4", "H.264, header at the beginning", "libx264", container=early, frames=16)
    add("h264_fragments.mp4", "H.264 in fragments", "libx264", container={"movflags": "frag_every_frame+empty_moov"})
    add("h264_in_order.mp4", "H.264 without B-frames", "libx264", codec_options={"bf": "0"})
    add("h264.mkv", "H.264 in Matroska", "libx264")
    add("h264.avi", "H.264 with B-frames in AVI, which keeps no times", "libx264", codec_options={"bf": "2"})
    add("h264.ts", "H.264 in a transport stream", "libx264", fmt="mpegts")
    add("h264.mov", "H.264 in QuickTime", "libx264")
    add("h264.flv", "H.264 in Flash video", "libx264")
    add("h264_high10.mp4", "H.264 of 10 bits", "libx264", pixels="yuv420p10le")
    add("h264_444.mp4", "H.264 with all of its colour", "libx264", pixels="yuv444p")
    add("h264_full_range.mp4", "H.264 of full range", "libx264", pixels="yuv420p", colour={"color_range": 2})
    add("h264_bt709.mp4", "H.264 in the colours of BT.709", "libx264", colour={"colorspace": 1})
    add("h264_pyramid.mp4", "B-frames that others refer to", "libx264", codec_options={"bf": "3"}, frames=16)
    add("h264_open_gop.mkv", "frames before a key that need what is before it", "libx264", frames=24,
        codec_options={"x264-params": "open-gop=1:keyint=8:min-keyint=1:scenecut=0:bframes=2"})  # fmt: skip
    add("h264_interlaced.mp4", "interlaced H.264", "libx264", codec_options={"x264-params": "interlaced=1"})
    add("h264_keys_only.mp4", "H.264 of key frames alone", "libx264", codec_options={"g": "1"})
    add("hevc.mp4", "HEVC", "libx265")
    add("hevc_10bit.mkv", "HEVC of 10 bits", "libx265", pixels="yuv420p10le")
    add("vp9.webm", "VP9", "libvpx-vp9", codec_options={"deadline": "realtime", "cpu-used": "8"})
    add("vp8.webm", "VP8, some of whose packets show nothing", "libvpx", codec_options={"auto-alt-ref": "1"})
    add("av1.mp4", "AV1", "libsvtav1", codec_options={"preset": "12", "svtav1-params": "lp=1"})
    add("mpeg4.mp4", "MPEG-4", "mpeg4", codec_options={"bf": "2", "qscale": "2"})
    add("mpeg4.avi", "MPEG-4 with B-frames in AVI", "mpeg4", codec_options={"bf": "2"})
    add("mpeg2.mpg", "MPEG-2", "mpeg2video", codec_options={"bf": "2"})
    add("mpeg1.mpeg", "MPEG-1", "mpeg1video")
    add("mjpeg.avi", "Motion JPEG", "mjpeg", pixels="yuvj420p")
    add("mjpeg.mov", "Motion JPEG in QuickTime", "mjpeg", pixels="yuvj422p")
    add("ffv1.mkv", "lossless FFV1", "ffv1")
    add("wmv.wmv", "Windows Media", "wmv2")
    add("flv.flv", "Sorenson", "flv")
    add("prores.mov", "ProRes", "prores_ks", pixels="yuv422p10le")
    add("raw.avi", "no codec at all", "rawvideo")
    add("gif.gif", "GIF", "gif", pixels="rgb8")
    add("one_frame.mp4", "one frame", "libx264", frames=1)
    add("two_frames.mkv", "two frames", "libx264", frames=2)
    add("odd.mp4", "odd sizes", "libx264", face(4, 161, 121), pixels="yuv444p")
    add("odd.mkv", "odd sizes, colour at half size", "mpeg4", face(4, 161, 121))
    add("odd.webm", "odd sizes, VP9", "libvpx-vp9", face(4, 163, 119), codec_options={"deadline": "realtime"})
    add("tall.mp4", "much taller than wide", "libx264", face(4, 128, 480))
    add("uneven.mp4", "a frame rate that varies", "libx264", times=[0, 10, 200, 210, 900, 1000, 1033, 9000])
    add("uneven.mkv", "a frame rate that varies, Matroska", "libx264", times=[0, 10, 200, 210, 900, 1000, 1033, 9000])
    add("late.mp4", "it begins at 100 s", "libx264", times=[100_000 + 40 * index for index in range(FRAMES)])
    add("crossing.mp4", "two faces that cross", "libx264", crossing_faces())
    for turned in (90, 180, 270):
        lying = [np.rot90(picture, -turned // 90) for picture in face(4)]
        encode(corpus.path(f"turned_{turned}.mp4"), "libx264", lying, turned=turned)
        size = f"{WIDTH}x{HEIGHT}"
        corpus.note(f"turned_{turned}.mp4", f"a camera turned by {turned} degrees", BOXES, frames=4, size=size)


def crossing_faces() -> Iterator[np.ndarray]:
    for index in range(12):
        picture = np.full((HEIGHT, 2 * WIDTH, 3), 110, np.uint8)
        yield draw_face(draw_face(picture, 50 + 20 * index, 55, 24), 270 - 20 * index, 65, 24)


def add_without_face(corpus: Corpus) -> None:
    noise = np.random.default_rng(0)
    pictures = {
        "grey": [plain(128)] * FRAMES,
        "black": [plain(0)] * FRAMES,
        "noise": [noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(FRAMES)],
        "tiny": [np.full((16, 16, 3), 90, np.uint8)] * FRAMES,
        "thin": [np.full((2, 400, 3), 90, np.uint8)] * FRAMES,
    }
    for name, shown in pictures.items():
        encode(corpus.path(f"no_face_{name}.mp4"), "libx264", shown)
        corpus.note(f"no_face_{name}.mp4", f"no face: {name}", FAILURE, "no face was found")


def add_pictures(corpus: Corpus) -> None:
    """Add pictures, which count as videos of one frame."""
    picture = Image.fromarray(next(face(1)))
    for name, what in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WebP"), ("bmp", "BMP")):
        picture.save(corpus.path(f"picture_{name}.{name}"), quality=95)
        corpus.note(f"picture_{name}.{name}", what, BOXES, frames=1)
        corpus.bases[f"picture_{name}.{name}"] = corpus.path(f"picture_{name}.{name}").read_bytes()
    picture.convert("L").save(corpus.path("picture_grey.png"))
    corpus.note("picture_grey.png", "PNG without colour", BOXES, frames=1)
    picture.quantize(64).save(corpus.path("picture_palette.png"))
    corpus.note("picture_palette.png", "PNG with a palette", BOXES, frames=1)
    transparent = picture.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.where(np.arange(WIDTH) < 20, 0, 255).astype(np.uint8)[None].repeat(HEIGHT, 0)))
    transparent.save(corpus.path("picture_transparent.png"))
    corpus.note("picture_transparent.png", "PNG that is transparent in part", BOXES, frames=1)
    shown = [transparent.copy() for _ in range(3)]
    shown[0].save(corpus.path("gif_transparent.gif"), save_all=True, append_images=shown[1:], duration=40, disposal=2)
    corpus.note("gif_transparent.gif", "GIF that is transparent in part", BOXES)
    lying = Image.fromarray(np.rot90(next(face(1))))  # turned by a quarter, counterclockwise
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    lying.save(corpus.path("picture_lying.jpg"), exif=exif, quality=95)
    corpus.note("picture_lying.jpg", "JPEG of a turned camera", BOXES, frames=1, size=f"{WIDTH}x{HEIGHT}")
    picture.save(corpus.path("picture%03d.png"), optimize=True)
    corpus.note("picture%03d.png", "a name that looks like a pattern", BOXES, frames=1)


def add_names(corpus: Corpus) -> None:
    for seed, name in enumerate(
        ("a name with spaces", "-begins with a dash", 'quote\'s "and" more', "ünïcödé_視頻", "a:b", "#1")
    ):
        encode(corpus.path(f"{name}.mkv"), "libx264", list(face(3 + seed)))
        corpus.note(f"{name}.mkv", "a strange name", BOXES, frames=3 + seed)


def add_wrong_suffixes(corpus: Corpus) -> None:
    for base, name in (
        ("h264.mkv", "matroska.mp4"),
        ("h264.ts", "stream.avi"),
        ("gif.gif", "really_gif.mp4"),
        ("picture_png.png", "really_png.mp4"),
        ("picture_jpg.jpg", "really_jpg.mkv"),
        ("picture_jpg.jpg", "really_jpg.png"),
        ("picture_png.png", "really_png.jpg"),
        ("vp9.webm", "really_webm.mov"),
    ):
        known = next(entry for entry in corpus.files if entry.name == corpus.path(base).name)
        padding = len(name) if base[:7] != "h264.ts" else 188  # identical bytes would count as a duplicate
        content = corpus.bases[base] + b"\0" * padding
        corpus.write(name, content, f"{base} by another name", BOXES, frames=known.frames)
    corpus.write(
        "really_mp4.jpg", corpus.bases["h264.mp4"] + struct.pack(">I4s", 8, b"free"), "a video named as a picture", BOXES
    )


def add_what_is_no_video(corpus: Corpus) -> None:
    noise = np.random.default_rng(1)
    page = b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head><body>quota exceeded</body></html>\n"
    contents = {
        "empty.mp4": b"",
        "one_byte.mp4": b"\0",
        "text.mp4": b"no video at all\n" * 50,
        "page.mp4": page * 3,
        "page.jpg": page,
        "json.mkv": b'{"frames": [1, 2, 3]}\n' * 20,
        "zeros.mp4": b"\0" * 20_000,
        "ones.avi": b"\xff" * 20_000,
        "random.mp4": noise.bytes(20_000),
        "random.webm": noise.bytes(20_000),
        "random.png": noise.bytes(20_000),
        "ftyp_alone.mp4": struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 512, b"isom"),
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "live_playlist.ts": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/b.ts\n",
        "concat.mkv": b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        "sdp.mp4": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264\n",
        "subtitles.mkv": b"1\n00:00:00,000 --> 00:00:05,000\nno picture\n\n" * 9,
        "archive.mp4": b"PK\x03\x04" + noise.bytes(3000),
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "signature.gif": b"GIF89a",
        "signature.avi": b"RIFF\0\0\0\0AVI LIST",
        "signature.mkv": b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f",
        "signature.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
        "pointer.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    }
    for name, content in contents.items():
        corpus.write(name, content, f"no video: {name}", FAILURE, NO_VIDEO)
    with wave.open(str(corpus.path("sound.avi")), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(noise.bytes(8000))
    corpus.note("sound.avi", "sound alone, by another name", FAILURE, NO_VIDEO)
    with av.open(str(corpus.path("sound.mp4")), "w") as file:
        stream: av.AudioStream = file.add_stream("aac", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        file.mux(stream.encode(samples))
        file.mux(stream.encode())
    corpus.note("sound.mp4", "sound alone", FAILURE, "no video stream")


def add_what_is_no_file(corpus: Corpus) -> None:
    corpus.path("folder.mp4").mkdir()
    corpus.path("leads_nowhere.mp4").symlink_to("gone.mp4")
    corpus.path("leads_to_itself.mp4").symlink_to(corpus.path("leads_to_itself.mp4").name)
    os.mkfifo(corpus.path("pipe.mp4"))
    corpus.note("folder.mp4", "a folder", FAILURE, "folder")
    corpus.note("leads_nowhere.mp4", "a link that leads nowhere", FAILURE, "broken symbolic link")
    corpus.note("leads_to_itself.mp4", "a link to itself", FAILURE, "link")
    corpus.note("pipe.mp4", "a pipe that nobody writes to", FAILURE, "not a regular file")
    if os.geteuid():  # root may read everything
        corpus.write("forbidden.mp4", corpus.bases["h264.mp4"] + b"\0", "no permission", FAILURE, "Permission denied")
        corpus.path("forbidden.mp4").chmod(0)


def add_truncated(corpus: Corpus) -> None:
    """Add truncated files: the complete packets before the cut are decoded. Containers give packet offsets only roughly."""
    for base in ("h264_early.mp4", "h264_fragments.mp4", "h264.mkv", "vp9.webm", "hevc_10bit.mkv", "mjpeg.avi"):
        content = corpus.bases[base]
        ends = packet_ends(corpus.path(base))
        for percent in (5, 20, 35, 50, 65, 80, 95):
            cut = len(content) * percent // 100
            complete = sum(end <= cut for end in ends)
            name = f"cut_{percent}_{base}"
            nearly = any(cut - 32 < end <= cut for end in ends)
            facts = (EITHER, ANY_REASON) if nearly else (BOXES, "", complete) if complete else (FAILURE, NO_VIDEO)
            corpus.write(name, content[:cut], f"{base} cut at {percent} %", *facts)
    for base in ("h264.mp4", "h264.mov", "av1.mp4"):
        for percent in (1, 30, 60, 90):
            cut = corpus.bases[base][: len(corpus.bases[base]) * percent // 100]
            corpus.write(f"cut_{percent}_{base}", cut, f"{base} cut at {percent} %, with its header gone", FAILURE, NO_VIDEO)
    for base in ("h264.ts", "mpeg2.mpg", "mpeg4.avi", "gif.gif", "h264.flv", "wmv.wmv"):
        for percent in (3, 40, 75, 95):
            cut = corpus.bases[base][: len(corpus.bases[base]) * percent // 100]
            corpus.write(f"cut_{percent}_{base}", cut, f"{base} cut at {percent} %", EITHER, ANY_REASON)
    for base in ("picture_png.png", "picture_jpg.jpg", "picture_webp.webp", "picture_bmp.bmp"):
        for percent in (10, 60):
            cut = corpus.bases[base][: len(corpus.bases[base]) * percent // 100]
            corpus.write(f"cut_{percent}_{base}", cut, f"{base} cut at {percent} %", EITHER, ANY_REASON)


def packet_ends(path: Path) -> list[int]:
    with av.open(str(path)) as file:
        return [packet.pos + packet.size for packet in file.demux(video=0) if packet.size and packet.pos is not None]


def add_flipped(corpus: Corpus) -> None:
    """Add files with wrong bits: some decode without damage, some have damaged frames, some end early."""
    bases = ("h264.mp4", "h264_early.mp4", "h264.mkv", "h264.ts", "hevc.mp4", "vp9.webm", "av1.mp4", "mpeg4.mp4", "mjpeg.avi",
             "gif.gif", "picture_png.png", "picture_jpg.jpg")  # fmt: skip
    for seed, base in enumerate(bases):
        for rate in (1e-4, 1e-3, 1e-2, 0.1):
            rng = np.random.default_rng([seed, int(1e6 * rate)])
            content = np.frombuffer(corpus.bases[base], np.uint8).copy()
            positions = rng.choice(len(content), max(1, int(len(content) * rate)), replace=False)
            content[positions] ^= (1 << rng.integers(0, 8, len(positions))).astype(np.uint8)
            corpus.write(
                f"flipped_{rate:g}_{base}", content.tobytes(), f"{base}, {rate:g} of its bytes wrong", EITHER, ANY_REASON
            )


def add_mended_badly(corpus: Corpus) -> None:
    """Add files with parts removed, overwritten, inserted or repeated."""
    early, late, matroska = (corpus.bases[name] for name in ("h264_early.mp4", "h264.mp4", "h264.mkv"))
    in_order = corpus.bases["h264_in_order.mp4"].replace(b"edts", b"free")
    write = corpus.write
    write("no_header.mp4", without_box(late, b"moov"), "its header taken out", FAILURE, NO_VIDEO)
    write("no_pictures.mp4", without_box(late, b"mdat"), "only its header", FAILURE, NO_VIDEO)
    write("header_alone.mp4", early[: early.index(b"mdat") + 4], "it ends after its header", FAILURE, NO_VIDEO)
    write("hole.mp4", early[:-1500] + b"\0" * 1000 + early[-500:], "zeros in its midst", EITHER, ANY_REASON)
    write("hole.mkv", matroska[:-1500] + b"\0" * 1000 + matroska[-500:], "zeros in its midst", EITHER, ANY_REASON)
    write("begins_late.ts", corpus.bases["h264.ts"][188 * 12 :], "its beginning is lost", EITHER, ANY_REASON)
    write("begins_late.mkv", matroska[500:], "its beginning is lost", EITHER, ANY_REASON)
    write("garbage_before.mp4", b"\x55" * 999 + late, "garbage before it", FAILURE, NO_VIDEO)
    write("garbage_behind.mp4", early + b"\x55" * 999, "garbage behind it", BOXES, frames=16)
    write("twice.ts", corpus.bases["h264.ts"] * 2, "two streams in a row, times begin anew", BOXES, frames=2 * FRAMES)
    write("twice.mkv", matroska * 2, "two files in a row", EITHER, ANY_REASON)
    write("same_times.mp4", with_stts(in_order, 0), "all frames at the same time", BOXES, frames=FRAMES)
    write("edited.mp4", with_stts(late, 0), "an edit list that leaves three frames out", BOXES, frames=5)
    write("long_times.mp4", with_stts(in_order, 0x7FFFFFF), "a frame in days", BOXES, frames=FRAMES)
    write("no_duration.mp4", zeroed(zeroed(late, b"mvhd", 16, 4), b"mdhd", 16, 4), "it says that it lasts no time", BOXES,
          frames=FRAMES)  # fmt: skip
    write("promises_much.mp4", promising(late, 1_000_000), "it says that it holds a million frames", EITHER, ANY_REASON)
    for name, position in (("wide_track.mp4", late.index(b"tkhd") + 80), ("wide_entry.mp4", late.index(b"avc1") + 28)):
        width = struct.pack(">HH", 65000, 65000)
        content = late[:position] + width + late[position + 4 :]
        write(name, content, "its header says 65000 pixels", EITHER, ANY_REASON)
    gif = corpus.bases["gif.gif"]
    write(
        "wide.gif",
        gif[:6] + struct.pack("<HH", 65000, 65000) + gif[10:],
        "65000x65000",
        FAILURE,
        f"{NO_VIDEO}|megapixels|memory",
    )
    write("wide.png", png_header(65000, 65000), "65000x65000 and nothing in it", FAILURE, f"{NO_VIDEO}|megapixels|memory")
    bitmap = corpus.bases["picture_bmp.bmp"]
    write("wide.bmp", bitmap[:18] + struct.pack("<ii", 65000, 65000) + bitmap[26:], "65000x65000", FAILURE,
          f"{NO_VIDEO}|megapixels|memory")  # fmt: skip
    Image.new("L", (12000, 6000)).save(corpus.path("vast.png"), compress_level=1)
    corpus.note("vast.png", "more pixels than are read", FAILURE, "megapixels")


def without_box(content: bytes, kind: bytes) -> bytes:
    begin = content.index(kind) - 4
    size = int.from_bytes(content[begin : begin + 4], "big")
    return content[:begin] + content[begin + size :]


def with_stts(content: bytes, delta: int) -> bytes:
    """Set the duration of all frames in an stts box of one entry."""
    position = content.index(b"stts") + 16
    return content[:position] + struct.pack(">I", delta) + content[position + 4 :]


def promising(content: bytes, count: int) -> bytes:
    """Claim more frames of the same size than there are."""
    position = content.index(b"stsz") + 12
    return content[:position] + struct.pack(">I", count) + content[position + 4 :]


def zeroed(content: bytes, kind: bytes, offset: int, size: int) -> bytes:
    position = content.index(kind) + 4 + offset
    return content[:position] + b"\0" * size + content[position + size :]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


ADDED: tuple[Callable[[Corpus], None], ...] = (
    add_codecs,
    add_pictures,
    add_without_face,
    add_names,
    add_wrong_suffixes,
    add_what_is_no_video,
    add_what_is_no_file,
    add_truncated,
    add_flipped,
    add_mended_badly,
)


def write_corpus(folder: Path) -> list[Strange]:
    os.environ["SVT_LOG"] = "0"  # else the AV1 encoder prints messages
    corpus = Corpus(folder)
    for add in ADDED:
        add(corpus)
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(corpus.files[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in corpus.files)
    return corpus.files


if __name__ == "__main__":
    print(f"{len(write_corpus(Path(sys.argv[1])))} files")
