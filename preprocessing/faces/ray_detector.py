"""Face detection in actors of a Ray cluster, one per GPU, which the decoding processes call.

In a cluster without GPUs, each process detects the faces in its own frames, and no frame is transferred.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import getpid
from typing import Any

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ray_workers import ray_connection
from explain_deepfakes.preprocessing.faces.face import Box, Face
from explain_deepfakes.preprocessing.faces.face_detector import DETECTORS, FaceDetector, FaceDetectorSettings
from explain_deepfakes.preprocessing.video.video import Picture

ACTORS = "actors:"  # a device name: this prefix and the number of actors
ACTOR_NAME = "detector-"  # a prefix, followed by a number; names are visible within the run only
CALLS_PER_ACTOR = 4  # concurrent: the pictures of one call are prepared while the GPU processes those of another


@contextmanager
def ray_detectors(cluster: str | None, settings: FaceDetectorSettings, device: str, workers: int) -> Iterator[str]:
    """Yield the device to detect on: the given one, or the GPUs of the cluster, in actors that exist until the block ends."""
    if not cluster:
        yield device
        return
    with ray_connection(cluster, workers) as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if device == "cuda" and not gpus:
            raise UserError(
                "device is 'cuda', but the cluster has no GPU; use cpu or auto, or start Ray on a machine with a GPU"
            )
        actors = [_start_actor(ray, number, settings, device) for number in range(gpus)] if device != "cpu" else []
        yield f"{ACTORS}{gpus}" if actors else device


def _start_actor(ray: Any, number: int, settings: FaceDetectorSettings, device: str) -> Any:
    """Start an actor. If its machine is lost, Ray restarts it elsewhere and repeats its calls; it ends with the run."""
    actor = ray.remote(num_cpus=0, num_gpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=CALLS_PER_ACTOR)
    return actor(_DetectorActor).options(name=f"{ACTOR_NAME}{number}").remote(settings, device)


class _DetectorActor:
    def __init__(self, settings: FaceDetectorSettings, device: str) -> None:
        self.detector = DETECTORS[settings.detector](settings, device)

    def smallest_px(self) -> int:
        return self.detector.smallest_px

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        return self.detector.detect(pictures)

    def redetect(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        return self.detector.redetect(pictures, boxes)


class RayFaceDetector:
    """A face detector that calls one of the actors."""

    def __init__(self, actors: int) -> None:
        import ray

        self.get, self.actor = ray.get, ray.get_actor(f"{ACTOR_NAME}{getpid() % actors}")
        self.smallest_px: int = self.get(self.actor.smallest_px.remote())

    def detect(self, pictures: Sequence[Picture]) -> list[list[Face]]:
        return self.get(self.actor.detect.remote(pictures))

    def redetect(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Face | None]:
        return self.get(self.actor.redetect.remote(pictures, boxes))


def connect_ray_detector(device: str) -> FaceDetector | None:
    """Return a detector for the device that `ray_detectors` has yielded, or None if that is not actors."""
    return RayFaceDetector(int(device.removeprefix(ACTORS))) if device.startswith(ACTORS) else None
