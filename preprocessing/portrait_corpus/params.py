"""Settings of the portrait corpus."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import setting

ENCODERS = {"h264": "libx264", "hevc": "libx265"}
METHOD_NAMES = (  # in the order of manipulations.METHODS
    "AlphaSwap",
    "PoissonSwap",
    "BottleneckSwap",
    "ExpressionWarp",
    "MouthRerender",
    "EyeSwap",
    "SelfBlend",
    "InnerFaceFilter",
)


@dataclass(frozen=True)
class PortraitVideoParams:
    """Parameters of make_portrait_videos."""

    portraits: tuple[Path, ...] = setting("folder of portraits, with or without provenance.csv")
    seed: int = setting("random seed", low=0)
    frames: int = setting("length of each video in frames", low=1)
    frame_rates: tuple[int, ...] = setting("frame rates to choose from for each person", low=1)
    heights: tuple[int, ...] = setting("heights in pixels to choose from; less if a face would be enlarged", low=128)
    methods: tuple[str, ...] = setting(f"manipulation methods: {', '.join(METHOD_NAMES)}")
    fakes_per_person: int = setting("number of manipulations for each person; 0: all", low=0)
    holdout_methods: tuple[str, ...] = setting("manipulation methods to use in the test set only")
    holdout_sources: tuple[str, ...] = setting("sources (folders) to put entirely into the test set")
    val_share: float = setting("fraction of the people for the validation set", low=0, high=1)
    test_share: float = setting("fraction of the people of the other sources for the test set", low=0, high=1)
    codecs: tuple[str, ...] = setting(f"codecs to choose from for each encoding: {', '.join(ENCODERS)}")
    twice_share: float = setting("fraction of the videos to encode twice", low=0, high=1)
    train_crf: tuple[int, ...] = setting("least and greatest CRF of training videos", low=0, high=51)
    val_crf: tuple[int, ...] = setting("least and greatest CRF of validation videos", low=0, high=51)
    test_crf: tuple[int, ...] = setting("least and greatest CRF of test videos", low=0, high=51)
    min_face_px: int = setting("least height of the face in a portrait, in pixels", low=32)
    max_failed_fraction: float = setting("greatest fraction of unusable portraits", low=0, high=1)
    workers: int = setting("number of rendering processes", low=1, auto=available_cpus)

    def __post_init__(self) -> None:
        for name, known in (("methods", METHOD_NAMES), ("holdout_methods", self.methods), ("codecs", ENCODERS)):
            _check_known(name, getattr(self, name), known)
        for name in ("methods", "codecs", "frame_rates", "heights"):
            if not getattr(self, name):
                raise UserError(f"make_portrait_videos.{name} is empty; name at least one")
        for name in ("train_crf", "val_crf", "test_crf"):
            crf = getattr(self, name)
            if len(crf) != 2 or crf[0] > crf[1]:
                raise UserError(
                    f"make_portrait_videos.{name} is {list(crf)}; it must be the least and the greatest CRF, such as [18, 31]"
                )
        if odd := [height for height in self.heights if height % 2]:
            raise UserError(f"make_portrait_videos.heights has {odd[0]}; heights must be even")
        if len(self.portraits) > 1:
            raise UserError(f"make_portrait_videos.portraits names {len(self.portraits)} folders; name only one")
        if self.val_share + self.test_share > 1:
            raise UserError("make_portrait_videos.val_share and test_share are more than 1 together; lower one of them")

    @property
    def folder(self) -> Path:
        """The folder of the portraits."""
        if not self.portraits:
            raise UserError("make_portrait_videos.portraits is empty; name the folder of the portraits with --portraits")
        return self.portraits[0]


def _check_known(name: str, values: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"make_portrait_videos.{name} has '{unknown[0]}'; it can have: {', '.join(known)}")
