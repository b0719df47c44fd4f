"""Select a subset of the training videos for a quick run, balanced over labels and methods, keeping fake-original pairs."""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence

import numpy as np

from explain_deepfakes.pipeline.index import FAKE, REAL, Video, original_of


def sample_videos(videos: Sequence[Video], most: int, seed: int) -> list[Video]:
    """Select at most `most` videos, in their order; one fewer if only a pair is left for the last position."""
    sampler = _Sampler(videos, seed)
    while len(sampler.chosen) < most and sampler.choose_next(most - len(sampler.chosen)):
        pass
    return [video for video in videos if video.video in sampler.chosen]


class _Sampler:
    """Chooses videos one by one, or a fake with its original, of the label and the method that have the fewest so far."""

    def __init__(self, videos: Sequence[Video], seed: int) -> None:
        by_name = {video.video: video for video in videos}
        shuffled = [videos[index] for index in np.random.default_rng(seed).permutation(len(videos))]
        self.originals = {fake.video: original.video for fake in shuffled if (original := original_of(fake, by_name))}
        self.fakes_of: dict[str, list[Video]] = defaultdict(list)
        self.waiting: dict[str, deque[Video]] = defaultdict(deque)  # by method: fakes whose original is not chosen yet
        self.ready: dict[str, deque[Video]] = defaultdict(deque)  # by method: other fakes
        for fake in (video for video in shuffled if video.label == FAKE):
            if original_name := self.originals.get(fake.video):
                self.fakes_of[original_name].append(fake)
                self.waiting[fake.method].append(fake)
            else:
                self.ready[fake.method].append(fake)
        self.unpaired = deque(video for video in shuffled if video.label == REAL and video.video not in self.fakes_of)
        self.chosen: set[str] = set()
        self.of_method, self.of_label = Counter[str](), Counter[int]()

    def choose_next(self, remaining: int) -> bool:
        """Choose one more video, or two; returns False if nothing is left that fits into the remaining number."""
        lacks_real = self.of_label[REAL] < self.of_label[FAKE]
        if lacks_real and self.unpaired:
            return self._choose(self.unpaired.popleft())
        for method in sorted({*self.ready, *self.waiting}, key=lambda method: (self.of_method[method], method)):
            ready, waiting = self.ready[method], self._waiting_in(method)
            if waiting and remaining > 1 and (lacks_real or not ready):
                return self._choose_pair(waiting.popleft())
            if ready:
                return self._choose(ready.popleft())
        return bool(self.unpaired) and self._choose(self.unpaired.popleft())

    def _waiting_in(self, method: str) -> deque[Video]:
        waiting = self.waiting[method]
        while waiting and self.originals[waiting[0].video] in self.chosen:  # such a fake is among those ready
            waiting.popleft()
        return waiting

    def _choose_pair(self, fake: Video) -> bool:
        original = self.originals[fake.video]
        self.chosen.add(original)
        self.of_label[REAL] += 1
        for sibling in self.fakes_of[original]:
            if sibling is not fake:
                self.ready[sibling.method].append(sibling)
        return self._choose(fake)

    def _choose(self, video: Video) -> bool:
        self.chosen.add(video.video)
        self.of_label[video.label] += 1
        if video.label == FAKE:
            self.of_method[video.method] += 1
        return True
