"""Settings of the crops. Importing this module loads no library."""

from dataclasses import asdict, dataclass, fields

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.params import build_settings, setting

CODE_VERSION = 3  # increased when the code of crops changes its results, so that all crops are made again
FOLDERS, ARCHIVES = "folders", "archives"
STORES = (FOLDERS, ARCHIVES)
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
LOSSLESS = "png"
NOT_ALIGNED = "none"
ALIGNMENTS = (NOT_ALIGNED, "arcface5", "ffhq5", "gend5")
UNALIGNED: dict[str, object] = {"align": NOT_ALIGNED, "scale": 1.0, "size": None}  # the settings of crops before alignment


@dataclass(frozen=True)
class CropSettings:
    """Everything that determines which faces of a video are cropped, and what their crops show; checkpoints store it."""

    margin: float = setting("margin on each side, as a fraction of the box of the face", low=0)
    square: bool = setting("crop squares instead of boxes")
    min_size: int = setting("shorter side of the smallest boxes to use, px", low=1)
    people: str = setting("people to crop: all, or the main person only", choices=("all", "main"))
    frames: int | None = setting("evenly spaced frames with faces per video, at most; null: all of them", low=1)
    align: str = setting(
        "template that the landmarks of each face are moved to, in place of margin and square", choices=ALIGNMENTS
    )
    scale: float = setting("how much more than the template an aligned crop shows", low=0.1)
    size: int | None = setting("side of aligned crops, px; null: as many pixels as the face has", low=1)
    format: str = setting("format of the crops; jpeg and webp are lossy", choices=tuple(SUFFIXES))
    quality: int = setting("quality of jpeg and webp", low=1, high=100)


def recorded_crop_settings(preprocessing: dict[str, dict[str, object]]) -> CropSettings:
    """Return the settings on a checkpoint's card, which earlier versions wrote without those of the alignment."""
    return build_settings(CropSettings, {**UNALIGNED, **preprocessing["extract_crops"]}, "extract_crops")


@dataclass(frozen=True)
class CropParams(CropSettings):
    store: str = setting("store the crops of a video in a folder, or in an uncompressed zip archive", choices=STORES)
    workers: int = setting("videos to process in parallel", low=1, auto=available_cpus)
    max_failed_fraction: float = setting("fail if more than this fraction of the videos fails", low=0, high=1)

    def crop_settings(self) -> CropSettings:
        return CropSettings(**{field.name: getattr(self, field.name) for field in fields(CropSettings)})

    def recorded_settings(self) -> dict[str, dict[str, object]]:
        return {"extract_crops": asdict(self.crop_settings())}

    def relevant_params(self) -> dict[str, object]:
        """Return the parameters that the crops depend on, for the keys in the ledger."""
        settings: dict[str, object] = asdict(self.crop_settings())
        for name in UNALIGNED if self.align == NOT_ALIGNED else ("margin", "square"):
            del settings[name]
        if self.format == LOSSLESS:
            del settings["quality"]
        return {**settings, "store": self.store, "code": CODE_VERSION}
