"""Reads folders of pictures as videos."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import cv2

from explain_deepfakes.preprocessing.video.frame_folders import list_frames
from explain_deepfakes.preprocessing.video.params import ReadingParams
from explain_deepfakes.preprocessing.video.pyav_reader import DecoderLog, PyavVideo
from explain_deepfakes.preprocessing.video.video import (
    REMOVE_FILE,
    DecodingStats,
    Picture,
    UnreadableVideo,
    VideoFacts,
    shrunk_size,
)


class FrameFolder:
    """A folder of pictures as a video. Pictures of another size than the first one are scaled to its size."""

    def __init__(self, path: str, reading: ReadingParams, log: DecoderLog, send_heartbeat: Callable[[], None]) -> None:
        self.reading, self.log, self.send_heartbeat = reading, log, send_heartbeat
        self.paths = list_frames(Path(path))
        self.is_truncated = len(self.paths) > reading.max_frames
        del self.paths[reading.max_frames :]
        first = self._first_readable()
        self.facts = VideoFacts(first.width, first.height, None, None, len(self.paths), "folder", first.codec)

    def _first_readable(self) -> VideoFacts:
        problem: UnreadableVideo | None = None
        for path in self.paths:
            try:
                return self._open(path).facts
            except UnreadableVideo as error:
                problem = problem or error
        reason = f"none of its {len(self.paths)} pictures can be read: {problem.reason}" if problem else "it has no pictures"
        raise UnreadableVideo(f"it is a folder, and {reason}", REMOVE_FILE)

    def _open(self, path: Path) -> PyavVideo:
        self.send_heartbeat()
        return PyavVideo(str(path), self.reading, self.log, self.send_heartbeat)

    def frames(
        self, indices: Collection[int] | None, longest_side: int | None, stats: DecodingStats, keep_decoded: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        size = shrunk_size(self.facts.width, self.facts.height, longest_side)
        requested = range(len(self.paths)) if indices is None else sorted(indices)
        count = 0
        for index in requested:
            stats.frames_decoded += 1
            try:
                ((_, picture),) = self._open(self.paths[index]).frames([0], longest_side, DecodingStats())
            except (UnreadableVideo, ValueError):  # ValueError: no frame was decoded
                stats.frames_damaged += 1
                continue
            is_of_size = picture.shape[1::-1] == size
            yield index, picture if is_of_size else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            count += 1
        stats.frames_missing = len(requested) - count
        if self.is_truncated:
            stats.ended_early = f"it has more than {self.reading.max_frames} frames (read_video.max_frames)"
