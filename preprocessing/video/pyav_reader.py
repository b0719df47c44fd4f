"""Reads video files with PyAV (FFmpeg).

Frames are counted by their packets, without decoding, and only what the requested frames depend on is decoded. Where packets
do not suffice for that (no timestamps, duplicate timestamps, packets without a frame), the file is decoded from its beginning,
and frames are counted as they come.
"""

import fcntl
import os
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

import av
import numpy as np
from av import Packet, VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from explain_deepfakes.preprocessing.video.container import is_animated_webp, open_container, shown_stream
from explain_deepfakes.preprocessing.video.fork_server import open_memory_file
from explain_deepfakes.preprocessing.video.orientation import FrameConverter, Orientation, displayed_size
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.video import (
    REMOVE_FILE,
    REPLACE_FILE,
    DecodingStats,
    Picture,
    UnreadableVideo,
    VideoFacts,
    shrunk_size,
)

PROBED_PACKETS = 4  # decoded to check that each packet of the file holds one frame
MIN_PACKETS_TO_SEEK = 16  # fewer are faster to decode than to skip by seeking
MAX_KEPT_BYTES = 256 << 20  # decoded frames that are kept for later requests
SEEKABLE_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
TIMED_CONTAINERS = SEEKABLE_CONTAINERS | {"mpegts", "gif"}  # each packet has the presentation time of its frame
# For these, `skip_frame` may change from packet to packet, and NONREF skips exactly the frames that no other one refers to.
SKIPPING_CODECS = {"h264", "hevc", "mpeg4", "mpeg2video"}
# Codecs with packets that display nothing; undetected damage also looks different when decoded by several threads.
IRREGULAR_CODECS = {"vp8"}


class ThreadedDamage(Exception):
    """Several threads have met damage: how it is concealed depends on their timing."""


class SeekFailed(Exception):
    """Seeking led to another packet, or the packets after it are damaged or refer to packets before it."""


@dataclass(frozen=True)
class PacketTable:
    """All packets of the file, in file order, which is decoding order."""

    times: NDArray[np.int64]  # presentation time of each frame in units of the stream; -1 if unknown
    are_keys: NDArray[np.bool_]
    timed: bool  # each packet has a unique time
    layered: bool  # HEVC temporal layers: a frame marked as unreferenced may be referred to from a higher layer
    truncated: bool  # the file has more packets than `max_frames`


@dataclass
class Segment:
    """A run of packets to decode for the requested frames. It begins at the first packet of the file or at a keyframe."""

    begin: int
    end: int
    times: set[int] | None  # of the requested frames; None: all frames


class PyavVideo:
    def __init__(self, path: str, reading: ReadingParams, log: "DecoderLog", send_heartbeat: Callable[[], None]) -> None:
        """`send_heartbeat` is called between any two packets."""
        self.path, self.reading, self.log, self.send_heartbeat = path, reading, log, send_heartbeat
        self.converter = FrameConverter()
        self.kept_frames: dict[int, VideoFrame] = {}  # by index
        self.may_seek = True
        with self._open() as (container, stream):
            rate, frames_promised = stream.average_rate, stream.frames
            others, pixel_ratio = len(container.streams.video) - 1, stream.sample_aspect_ratio
            self.codec, self.intra_only = stream.codec_context.name, stream.codec_context.codec.intra_only
            self.container = container.format.name
            self.packets, probed = self._list_packets(container, stream)
            frames = list(self._decode(stream, [*probed, None], DecodingStats(), 1))
        same_times = [frame.pts for frame in frames] == sorted(packet.pts or 0 for packet in probed)
        regular = self.container in TIMED_CONTAINERS and self.codec not in IRREGULAR_CODECS
        self.timed = self.packets.timed and same_times and regular
        first = frames[0] if frames else self._first_frame()
        self.orientation, self.interlaced = Orientation.of(first), first.interlaced_frame
        width, height = self.orientation.size(displayed_size(first.width, first.height, pixel_ratio))
        count = len(self.packets.times) if self.timed else self._count_by_decoding()
        frame_rate, frames_present = float(rate) if rate else None, min(count, reading.max_frames)
        self.facts = VideoFacts(
            width, height, frame_rate, frames_promised or None, frames_present, self.container, self.codec, others
        )

    def frames(
        self, indices: Collection[int] | None, longest_side: int | None, stats: DecodingStats, keep_decoded: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        size = shrunk_size(self.facts.width, self.facts.height, longest_side)
        requested = range(self.facts.frames_present) if indices is None else sorted(indices)
        count = 0
        for index, frame in self._kept(requested) or self._decode_reproducibly(requested, stats):
            if keep_decoded:
                self._keep(index, frame)
            yield index, self.converter.convert(frame, self.orientation, size)
            count += 1
        stats.frames_missing = len(requested) - count
        if self.packets.truncated:
            stats.ended_early = f"it has more than {self.reading.max_frames} frames (read_video.max_frames)"

    def _keep(self, index: int, frame: VideoFrame) -> None:
        size = sum(plane.buffer_size for plane in frame.planes)
        if (len(self.kept_frames) + 1) * size <= MAX_KEPT_BYTES:
            self.kept_frames[index] = frame

    def _kept(self, requested: Collection[int]) -> list[tuple[int, VideoFrame]]:
        """All requested frames, or none if any of them was not kept."""
        if self.kept_frames.keys() >= set(requested):
            return [(index, self.kept_frames[index]) for index in requested]
        return []

    def _decode_reproducibly(self, requested: Collection[int], stats: DecodingStats) -> Iterator[tuple[int, VideoFrame]]:
        """Decode the requested frames. At the first damage, start again with one thread, whose output is reproducible."""
        threads, last = 1 if self.codec in IRREGULAR_CODECS else self.reading.decoder_threads, -1
        while True:
            stats.frames_decoded = stats.frames_damaged = 0
            try:
                for index, frame in self._decode_requested(requested, stats, threads):
                    if index > last:
                        last = index
                        yield index, frame
                return
            except ThreadedDamage:
                threads = 1
            except SeekFailed:
                self.may_seek = False

    def _decode_requested(
        self, requested: Collection[int], stats: DecodingStats, threads: int
    ) -> Iterator[tuple[int, VideoFrame]]:
        if not requested:
            return
        if not self.timed:
            with self._open() as (container, stream):
                frames = self._decode(stream, self._demux(container, stream), stats, threads)
                requested_set, last = set(requested), max(requested)
                yield from ((index, frame) for index, frame in enumerate(islice(frames, last + 1)) if index in requested_set)
            return
        display_order = np.argsort(self.packets.times)
        times = self.packets.times[display_order]
        all_frames = len(requested) >= len(times)
        packets = None if all_frames else [int(display_order[index]) for index in requested if index < len(times)]
        with self._open() as (container, stream):
            for segment in self._plan_segments(packets):
                needed = self._demux_segment(segment, container, stream)
                for frame in self._decode(stream, needed, stats, threads, after_seek=segment.begin > 0):
                    index = int(np.searchsorted(times, -1 if frame.pts is None else frame.pts))
                    if index < len(times) and times[index] == frame.pts and _is_requested(segment.times, frame.pts):
                        yield index, frame

    def _plan_segments(self, packets: list[int] | None) -> list[Segment]:
        """What to decode for the frames of these packets (None: all), which are in display order."""
        times, keys = self.packets.times, np.flatnonzero(self.packets.are_keys)
        if packets is None:
            return [Segment(0, len(times) - 1, None)]
        may_seek = self.may_seek and self.container in SEEKABLE_CONTAINERS
        requested_times = set[int]()
        segments = [Segment(0, 0, requested_times)]
        for packet in packets:
            key = int(np.searchsorted(keys, packet, "right")) - 1
            while key >= 0 and times[keys[key]] > times[packet]:
                key -= 1  # a frame stored after a keyframe and displayed before it may refer to frames stored before it
            if may_seek and key >= 0 and keys[key] - segments[-1].end > MIN_PACKETS_TO_SEEK:
                requested_times = set()
                segments.append(Segment(int(keys[key]), packet, requested_times))
            segments[-1].end = max(segments[-1].end, packet)
            requested_times.add(int(times[packet]))
        return [segment for segment in segments if segment.times]

    def _demux_segment(self, segment: Segment, container: InputContainer, stream: VideoStream) -> Iterator[Packet | None]:
        """Yield the packets that the requested frames depend on, then None, which flushes the decoder."""
        packets = self._demux(container, stream)
        if segment.begin:
            container.seek(int(self.packets.times[segment.begin]), stream=stream)
            packets = self._from_keyframe(self._demux(container, stream), segment.begin)
        can_skip = self.codec in SKIPPING_CODECS and not self.packets.layered
        for packet in islice(packets, segment.end + 1 - segment.begin):
            if packet is None:
                break  # the file has become shorter
            requested = _is_requested(segment.times, packet.pts)
            if can_skip:
                stream.codec_context.skip_frame = "DEFAULT" if requested else "NONREF"
            if requested or not self.intra_only:
                yield packet
        yield None

    def _from_keyframe(self, packets: Iterator[Packet | None], begin: int) -> Iterator[Packet | None]:
        """Skip the packets before the keyframe: seeking leads to it or to a position before it."""
        for packet in islice(packets, begin + 1):
            if packet is not None and packet.pts == self.packets.times[begin]:
                return chain([packet], packets)
        raise SeekFailed

    def _first_frame(self) -> VideoFrame:
        with self._open() as (container, stream):
            for frame in self._decode(stream, self._demux(container, stream), DecodingStats(), 1):
                return frame
        if is_animated_webp(self.path):
            raise UnreadableVideo("animated WebP is not supported", "convert it to MP4")
        raise UnreadableVideo("no frame of it can be decoded", REPLACE_FILE)

    def _count_by_decoding(self) -> int:
        """Count the frames that one thread decodes: damage ends the count where it will end the reading of frames."""
        with self._open() as (container, stream):
            frames = self._decode(stream, self._demux(container, stream), DecodingStats(), 1)
            return sum(1 for _ in islice(frames, self.reading.max_frames))

    def _decode(
        self,
        stream: VideoStream,
        packets: Iterable[Packet | None],
        stats: DecodingStats,
        threads: int,
        after_seek: bool = False,
    ) -> Iterator[VideoFrame]:
        if not stream.codec_context.is_open:
            stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", threads
        self.log.pop_errors()
        for packet in packets:
            frames, failed = [], False
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                failed = True
            if self.log.pop_errors() or failed or any(frame.is_corrupt for frame in frames):
                if after_seek:
                    raise SeekFailed
                if threads > 1:
                    raise ThreadedDamage
                stats.frames_damaged += 1
            stats.frames_decoded += len(frames)
            yield from frames

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        max_pixels = int(self.reading.max_megapixels * 1e6)
        try:
            container = open_container(self.path)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise UnreadableVideo(f"it cannot be opened as a video ({error.strerror})", REPLACE_FILE) from error
        with container:
            stream = shown_stream(container)
            if not stream:
                raise UnreadableVideo("it has no video stream", REMOVE_FILE)
            context = stream.codec_context
            if context is None:
                raise UnreadableVideo("its codec is not supported", "convert it to H.264")
            if context.width * context.height > max_pixels:
                reason = f"its frames of {context.width}x{context.height} have more than {max_pixels / 1e6:g} megapixels"
                raise UnreadableVideo(reason, f"raise read_video.max_megapixels, or {REMOVE_FILE}")
            context.options = {"max_pixels": str(max_pixels)}  # for streams whose frames change size
            yield container, stream

    def _demux(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet | None]:
        """Yield all packets, then None; without the empty packet that PyAV ends with."""
        packets = container.demux(stream)
        while True:
            self.send_heartbeat()
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError) as error:  # a damaged container ends at the damage
                if isinstance(error, MemoryError):
                    raise
                break
            if packet.is_corrupt and container.format.name != "mpegts":  # in MPEG-TS, only a part of the packet is lost
                break  # the file is truncated within this packet
            if packet.size:
                yield packet
        yield None

    def _list_packets(self, container: InputContainer, stream: VideoStream) -> tuple[PacketTable, list[Packet]]:
        """Return the packet table, and the first packets."""
        times, keys, have_times, layered = array("q"), bytearray(), True, False
        probed: list[Packet] = []
        for packet in self._demux(container, stream):
            if packet is None or len(times) > self.reading.max_frames:
                break
            have_times = have_times and packet.pts is not None and not packet.is_discard
            times.append(-1 if packet.pts is None else packet.pts)
            keys.append(packet.is_keyframe)
            layered = layered or self.codec == "hevc" and _temporal_layer(packet) > 0
            if len(probed) < PROBED_PACKETS:
                probed.append(packet)
        unique = len(set(times)) == len(times)
        truncated = len(times) > self.reading.max_frames
        return PacketTable(np.array(times), np.array(keys, bool), have_times and unique, layered, truncated), probed


class DecoderLog:
    """Captures the error messages of the decoding libraries, which are the main sign of damage: decoding goes on after them."""

    def __init__(self) -> None:
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # for the tracebacks of our own errors; line by line
        self.file, self.had_errors = open_memory_file(), False
        fcntl.fcntl(self.file, fcntl.F_SETFL, os.O_APPEND)
        os.dup2(self.file, 2)
        av.logging.restore_default_callback()  # otherwise the decoder's threads would call Python
        av.logging.set_libav_level(av.logging.ERROR)

    def pop_errors(self) -> bool:
        """Whether there were errors since the last call."""
        if not os.fstat(self.file).st_size:
            return False
        os.ftruncate(self.file, 0)
        self.had_errors = True
        return True


def _is_requested(times: set[int] | None, time: int) -> bool:
    return times is None or time in times


def _temporal_layer(packet: Packet) -> int:
    """Temporal layer of an HEVC packet, from its first NAL unit, which follows four bytes of length or of a start code."""
    header = bytes(memoryview(packet)[4:6])
    return (header[1] & 7) - 1 if len(header) == 2 else 0
