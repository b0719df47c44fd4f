"""A part of the training videos, for a quick run: of both labels and all methods alike, originals together with their fakes."""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence

import numpy as np

from pipeline.index import FAKE, REAL, Video, original_of


def sample_videos(videos: Sequence[Video], most: int, seed: int) -> list[Video]:
    """So many of them at most, in their order; one less where the last place is too little for a fake and its original."""
    sampler = _Sampler(videos, seed)
    while len(sampler.taken) < most and sampler.take_next(most - len(sampler.taken)):
        pass
    return [video for video in videos if video.video in sampler.taken]


class _Sampler:
    """Takes videos one by one, or a fake with its original: of the label and of the method that are behind."""

    def __init__(self, videos: Sequence[Video], seed: int) -> None:
        by_name = {video.video: video for video in videos}
        shuffled = [videos[place] for place in np.random.default_rng(seed).permutation(len(videos))]
        self.originals = {fake.video: original.video for fake in shuffled if (original := original_of(fake, by_name))}
        self.fakes_of: dict[str, list[Video]] = defaultdict(list)
        self.waiting: dict[str, deque[Video]] = defaultdict(deque)  # fakes whose original is not taken yet, by method
        self.ready: dict[str, deque[Video]] = defaultdict(deque)  # the others
        for fake in (video for video in shuffled if video.label == FAKE):
            if original_name := self.originals.get(fake.video):
                self.fakes_of[original_name].append(fake)
                self.waiting[fake.method].append(fake)
            else:
                self.ready[fake.method].append(fake)
        self.lone = deque(video for video in shuffled if video.label == REAL and video.video not in self.fakes_of)
        self.taken: set[str] = set()
        self.of_method, self.of_label = Counter[str](), Counter[int]()

    def take_next(self, room: int) -> bool:
        """Whether there was something that fits into the room."""
        lacks_real = self.of_label[REAL] < self.of_label[FAKE]
        if lacks_real and self.lone:
            return self._take(self.lone.popleft())
        for method in sorted({*self.ready, *self.waiting}, key=lambda method: (self.of_method[method], method)):
            ready, waiting = self.ready[method], self._waiting_in(method)
            if waiting and room > 1 and (lacks_real or not ready):
                return self._take_pair(waiting.popleft())
            if ready:
                return self._take(ready.popleft())
        return bool(self.lone) and self._take(self.lone.popleft())

    def _waiting_in(self, method: str) -> deque[Video]:
        waiting = self.waiting[method]
        while waiting and self.originals[waiting[0].video] in self.taken:  # then it is among those that are ready
            waiting.popleft()
        return waiting

    def _take_pair(self, fake: Video) -> bool:
        original = self.originals[fake.video]
        self.taken.add(original)
        self.of_label[REAL] += 1
        for other in self.fakes_of[original]:
            if other is not fake:
                self.ready[other.method].append(other)
        return self._take(fake)

    def _take(self, video: Video) -> bool:
        self.taken.add(video.video)
        self.of_label[video.label] += 1
        if video.label == FAKE:
            self.of_method[video.method] += 1
        return True
