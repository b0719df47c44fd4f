"""A face detector that lives elsewhere: in actors of a Ray cluster, one for each of its GPUs, which the decoding processes ask.

Where a cluster has no GPU, each process detects in what it decoded, and no picture travels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import getpid
from typing import Any

from pipeline.errors import UserError
from pipeline.ray_workers import connected
from preprocessing.faces.face import Box, Face
from preprocessing.faces.face_detector import DETECTORS, DetectorSettings, FaceDetector
from preprocessing.video.video import Picture

ACTORS = "actors:"  # and how many: as a device
NAME = "detector-"  # and its number; a run sees its own alone
CALLS_SIDE_BY_SIDE = 4  # in an actor: one's pictures are prepared while the GPU has another's


@contextmanager
def detectors_of(cluster: str | None, settings: DetectorSettings, device: str, workers: int) -> Iterator[str]:
    """Yields the device that the work is to detect on: the given one, or the cluster's GPUs, by actors that last as long."""
    if not cluster:
        yield device
        return
    with connected(cluster, workers) as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if device == "cuda" and not gpus:
            raise UserError("device is 'cuda', but the cluster has no GPU; say cpu or auto, or start Ray where one is")
        actors = [_start(ray, number, settings, device) for number in range(gpus)] if device != "cpu" else []
        yield f"{ACTORS}{gpus}" if actors else device


def _start(ray: Any, number: int, settings: DetectorSettings, device: str) -> Any:
    """Started anew elsewhere if its machine is lost, and asked again; but it does not outlast the run."""
    actor = ray.remote(num_cpus=0, num_gpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=CALLS_SIDE_BY_SIDE)
    return actor(_Actor).options(name=f"{NAME}{number}").remote(settings, device)


class _Actor:
    def __init__(self, settings: DetectorSettings, device: str) -> None:
        self.detector = DETECTORS[settings.detector](settings, device)

    def smallest_px(self) -> int:
        return self.detector.smallest_px

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        return self.detector.detect(pictures)

    def find_again(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        return self.detector.find_again(pictures, boxes)


class DistantDetector:
    """One of the actors, as a decoding process sees it."""

    def __init__(self, actors: int) -> None:
        import ray

        self.get, self.actor = ray.get, ray.get_actor(f"{NAME}{getpid() % actors}")
        self.smallest_px: int = self.get(self.actor.smallest_px.remote())

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        return self.get(self.actor.detect.remote(pictures))

    def find_again(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        return self.get(self.actor.find_again.remote(pictures, boxes))


def distant(device: str) -> FaceDetector | None:
    """What `detectors_of` yielded, if that was actors."""
    return DistantDetector(int(device.removeprefix(ACTORS))) if device.startswith(ACTORS) else None
