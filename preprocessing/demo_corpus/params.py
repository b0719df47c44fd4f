"""Settings of the demo corpus."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import setting


@dataclass(frozen=True)
class DemoVideoParams:
    seed: int = setting("random seed", low=0)
    train_identities: int = setting("number of people in the training set; even, since people swap faces in pairs", low=0)
    val_identities: int = setting("number of people in the validation set; even", low=0)
    test_identities: int = setting("number of people in the test set; even; two empty scenes are added", low=0)
    frames: int = setting("length of each video in frames", low=1)
    fps: float = setting("frames per second", low=1)
    height: int = setting("height of the videos in pixels; even", low=96)
    width: int = setting("width of the videos in pixels; even", low=96)
    crf: int = setting("constant rate factor of the H.264 encoding; lower is better and larger", low=0, high=51)
    strength: float = setting("strength of the manipulation artifacts", low=0)
    workers: int = setting("rendering processes", low=1, auto=available_cpus)

    def __post_init__(self) -> None:
        for name in ("train_identities", "val_identities", "test_identities", "height", "width"):
            if getattr(self, name) % 2:
                raise UserError(f"make_demo_videos.{name} is {getattr(self, name)}; it must be even")
