"""A file -> what video it holds, and its frames, by PyAV (FFmpeg).

The frames are counted by their packets, without decoding them; what decodes is only what the frames asked for need.
Where packets tell too little for that (no times, or the same twice; packets that show nothing), the file is decoded
from its beginning, and frames are counted as they come.
"""

import fcntl
import os
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from preprocessing.video.fork_server import open_memory
from preprocessing.video.orientation import Converter, Turn
from preprocessing.video.video import FETCH_AGAIN, Account, Picture, Reading, UnreadableVideo, VideoFacts, shrunk_size

PACKETS_TRIED = 4  # before it is believed that each packet of the file holds a frame
PACKETS_WORTH_A_SEEK = 16
MAX_BYTES_KEPT = 256 << 20  # decoded frames that may be asked for again
SEEKABLE_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
TIMED_CONTAINERS = SEEKABLE_CONTAINERS | {"mpegts", "gif"}  # packets say when their frame is shown
# With these, what is skipped may change from packet to packet, and NONREF skips just what no other frame refers to.
SKIPPING_CODECS = {"h264", "hevc", "mpeg4", "mpeg2video"}
# Some packets show nothing; and damage that is met in silence shows otherwise with several threads.
ODD_CODECS = {"vp8"}


class Damaged(Exception):
    """Met by several threads: how it is hidden depends on which of them comes first."""


class SeekFailed(Exception):
    """It led elsewhere, or what follows is damaged, or refers to what was left out."""


@dataclass(frozen=True)
class Packets:
    """Of the whole file, in the order in which they lie there, which is that of decoding."""

    times: np.ndarray  # when each one's frame is shown, in the stream's units; -1 where it is not said
    are_keys: np.ndarray
    timed: bool  # each has a time of its own
    layered: bool  # HEVC's temporal layers: frames of a lower one that look unneeded may be referred to from a higher one
    more: bool  # than are to be read


@dataclass
class Segment:
    """A run of packets that has to be decoded for the frames asked for; it begins at the first packet or a key."""

    begin: int
    end: int
    times: set[int] | None  # of the frames asked for; None: of all


class PyavVideo:
    def __init__(self, path: str, reading: Reading, complaints: "Complaints", alive: Callable[[], None]) -> None:
        """`alive` is called between any two packets."""
        self.path, self.reading, self.complaints, self.alive = path, reading, complaints, alive
        self.converter = Converter()
        self.kept: dict[int, Any] = {}  # frames by index
        self.may_seek = True
        with self._opened() as (container, stream):
            rate, promised = stream.average_rate, stream.frames
            self.codec, self.intra_only = stream.codec_context.name, stream.codec_context.codec.intra_only
            self.container = container.format.name
            self.packets, tried = self._list_packets(container, stream)
            frames = list(self._decoded(stream, [*tried, None], Account(), 1))
        same_times = [frame.pts for frame in frames] == sorted(packet.pts or 0 for packet in tried)
        self.timed = self.packets.timed and same_times and self.container in TIMED_CONTAINERS and self.codec not in ODD_CODECS
        first = frames[0] if frames else self._first_frame()
        self.turn, self.interlaced = Turn.of(first), first.interlaced_frame
        width, height = self.turn.size((first.width, first.height))
        count = len(self.packets.times) if self.timed else self._count_by_decoding()
        rate, present = float(rate) if rate else None, min(count, reading.max_frames)
        self.facts = VideoFacts(width, height, rate, promised or None, present, self.container, self.codec)

    def frames(
        self, indices: Collection[int] | None, longest_side: int | None, account: Account, again: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        size = shrunk_size(self.facts.width, self.facts.height, longest_side)
        wanted = range(self.facts.frames_present) if indices is None else sorted(indices)
        given = 0
        for index, frame in self._kept(wanted) or self._found(wanted, account):
            if again:
                self._keep(index, frame)
            yield index, self.converter.convert(frame, self.turn, size)
            given += 1
        account.frames_missing = len(wanted) - given
        if self.packets.more:
            account.ended_early = f"it has more than {self.reading.max_frames} frames (read_video.max_frames)"

    def _keep(self, index: int, frame: Any) -> None:
        size = sum(plane.buffer_size for plane in frame.planes)
        if (len(self.kept) + 1) * size <= MAX_BYTES_KEPT:
            self.kept[index] = frame

    def _kept(self, wanted: Collection[int]) -> list[tuple[int, Any]]:
        """All that are wanted, or none."""
        return [(index, self.kept[index]) for index in wanted] if self.kept.keys() >= set(wanted) else []

    def _found(self, wanted: Collection[int], account: Account) -> Iterator[tuple[int, Any]]:
        """Decoded anew by one thread as soon as there is damage, for then only one thread gives the same each time."""
        threads, last = 1 if self.codec in ODD_CODECS else self.reading.decoder_threads, -1
        while True:
            account.frames_decoded = account.frames_damaged = 0
            try:
                for index, frame in self._indexed(wanted, account, threads):
                    if index > last:
                        last = index
                        yield index, frame
                return
            except Damaged:
                threads = 1
            except SeekFailed:
                self.may_seek = False

    def _indexed(self, wanted: Collection[int], account: Account, threads: int) -> Iterator[tuple[int, Any]]:
        if not wanted:
            return
        if not self.timed:
            with self._opened() as (container, stream):
                frames = self._decoded(stream, self._packets(container, stream), account, threads)
                asked, last = set(wanted), max(wanted)
                yield from ((index, frame) for index, frame in enumerate(islice(frames, last + 1)) if index in asked)
            return
        in_order = np.argsort(self.packets.times)
        times = self.packets.times[in_order]
        everything = len(wanted) >= len(times)
        places = None if everything else [int(in_order[index]) for index in wanted if index < len(times)]
        with self._opened() as (container, stream):
            for segment in self._segments(places):
                packets = self._packets_of(segment, container, stream)
                for frame in self._decoded(stream, packets, account, threads, sought=segment.begin > 0):
                    index = int(np.searchsorted(times, -1 if frame.pts is None else frame.pts))
                    if index < len(times) and times[index] == frame.pts and _holds(segment.times, frame.pts):
                        yield index, frame

    def _segments(self, places: list[int] | None) -> list[Segment]:
        """What to decode for the frames in these packets, which come in the order in which they are shown."""
        times, keys = self.packets.times, np.flatnonzero(self.packets.are_keys)
        if places is None:
            return [Segment(0, len(times) - 1, None)]
        may_seek = self.may_seek and self.container in SEEKABLE_CONTAINERS
        asked = set[int]()
        segments = [Segment(0, 0, asked)]
        for place in places:
            key = int(np.searchsorted(keys, place, "right")) - 1
            while key >= 0 and times[keys[key]] > times[place]:
                key -= 1  # what lies behind a key and is shown before it may refer to what lies before it
            if may_seek and key >= 0 and keys[key] - segments[-1].end > PACKETS_WORTH_A_SEEK:
                asked = set()
                segments.append(Segment(int(keys[key]), place, asked))
            segments[-1].end = max(segments[-1].end, place)
            asked.add(int(times[place]))
        return [segment for segment in segments if segment.times]

    def _packets_of(self, segment: Segment, container: Any, stream: Any) -> Iterator[Any]:
        """Those that the frames asked for need; the last is None, which makes the decoder give what it holds back."""
        packets = self._packets(container, stream)
        if segment.begin:
            container.seek(int(self.packets.times[segment.begin]), stream=stream)
            packets = self._from_key(self._packets(container, stream), segment.begin)
        skips = self.codec in SKIPPING_CODECS and not self.packets.layered
        for packet in islice(packets, segment.end + 1 - segment.begin):
            if packet is None:
                break  # the file has become shorter
            asked = _holds(segment.times, packet.pts)
            if skips:
                stream.codec_context.skip_frame = "DEFAULT" if asked else "NONREF"
            if asked or not self.intra_only:
                yield packet
        yield None

    def _from_key(self, packets: Iterator[Any], begin: int) -> Iterator[Any]:
        """Seeking leads to the key or before it."""
        for packet in islice(packets, begin + 1):
            if packet is not None and packet.pts == self.packets.times[begin]:
                return chain([packet], packets)
        raise SeekFailed

    def _first_frame(self) -> Any:
        with self._opened() as (container, stream):
            for frame in self._decoded(stream, self._packets(container, stream), Account(), 1):
                return frame
        raise UnreadableVideo("no frame of it decodes", FETCH_AGAIN)

    def _count_by_decoding(self) -> int:
        """By one thread: where it meets damage, so will the frames that are to be read."""
        with self._opened() as (container, stream):
            frames = self._decoded(stream, self._packets(container, stream), Account(), 1)
            return sum(1 for _ in islice(frames, self.reading.max_frames))

    def _decoded(
        self, stream: Any, packets: Iterable[Any], account: Account, threads: int, sought: bool = False
    ) -> Iterator[Any]:
        if not stream.codec_context.is_open:
            stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", threads
        self.complaints.came()
        for packet in packets:
            frames, failed = [], False
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                failed = True
            if self.complaints.came() or failed or any(frame.is_corrupt for frame in frames):
                if sought:
                    raise SeekFailed
                if threads > 1:
                    raise Damaged
                account.frames_damaged += 1
            account.frames_decoded += len(frames)
            yield from frames

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        most = int(self.reading.max_megapixels * 1e6)
        # What looks like a playlist, or a name like a pattern, is to open nothing else.
        options = {"protocol_whitelist": "file", "pattern_type": "none"}
        try:
            container = av.open(self.path, options=options, metadata_errors="ignore")
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise UnreadableVideo(f"it cannot be opened as a video ({error.strerror})", FETCH_AGAIN) from error
        with container:
            # The cover of an audio file is no video.
            streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not streams:
                raise UnreadableVideo("it holds no video", "take it out of the data")
            context = streams[0].codec_context
            if context is None:
                raise UnreadableVideo("its video is in a codec that nobody here knows", "convert it to H.264")
            if context.width * context.height > most:
                reason = f"its frames of {context.width}x{context.height} have more than {most / 1e6:g} megapixels"
                raise UnreadableVideo(reason, "raise read_video.max_megapixels, or take it out of the data")
            context.options = {"max_pixels": str(most)}  # for those that change their size
            yield container, streams[0]

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """All but the empty one that PyAV ends with, then None."""
        packets = container.demux(stream)
        while True:
            self.alive()
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError) as error:  # where the container is damaged, there it ends
                if isinstance(error, MemoryError):
                    raise
                break
            if packet.is_corrupt and container.format.name != "mpegts":  # there, it has lost a part
                break  # the file breaks off in it
            if packet.size:
                yield packet
        yield None

    def _list_packets(self, container: Any, stream: Any) -> tuple[Packets, list[Any]]:
        times, keys, said, layered = array("q"), bytearray(), True, False
        tried: list[Any] = []
        for packet in self._packets(container, stream):
            if packet is None or len(times) > self.reading.max_frames:
                break
            said = said and packet.pts is not None and not packet.is_discard
            times.append(-1 if packet.pts is None else packet.pts)
            keys.append(packet.is_keyframe)
            layered = layered or self.codec == "hevc" and _temporal_layer(packet) > 0
            if len(tried) < PACKETS_TRIED:
                tried.append(packet)
        unique = len(set(times)) == len(times)
        more = len(times) > self.reading.max_frames
        return Packets(np.array(times), np.array(keys, bool), said and unique, layered, more), tried


class Complaints:
    """What the decoders' libraries print as errors: they go on decoding, and this is most of what they say of damage."""

    def __init__(self) -> None:
        sys.stderr = os.fdopen(os.dup(2), "w")  # for the traceback of a mistake of our own
        self.file, self.ever_came = open_memory(), False
        fcntl.fcntl(self.file, fcntl.F_SETFL, os.O_APPEND)
        os.dup2(self.file, 2)
        av.logging.restore_default_callback()  # else the decoders' threads would call Python
        av.logging.set_libav_level(av.logging.ERROR)

    def came(self) -> bool:
        """Since the last call."""
        if not os.fstat(self.file).st_size:
            return False
        os.ftruncate(self.file, 0)
        self.ever_came = True
        return True


def _holds(times: set[int] | None, time: int) -> bool:
    return times is None or time in times


def _temporal_layer(packet: Any) -> int:
    """Of an HEVC packet's first unit, which lies behind four bytes that tell its length, or that it begins."""
    header = bytes(memoryview(packet)[4:6])
    return (header[1] & 7) - 1 if len(header) == 2 else 0
