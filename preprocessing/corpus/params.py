"""Settings of the index. Importing this module loads no library."""

from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.params import setting
from explain_deepfakes.preprocessing.corpus.layouts import AUTO, NAMES
from explain_deepfakes.preprocessing.corpus.layouts.df40 import DOMAINS
from explain_deepfakes.preprocessing.corpus.layouts.tree import ALL_DOMAINS

OFFICIAL, GROUPS, TEST_ONLY = "official", "groups", "test"
PICTURES = ("auto", "single", "frames", "crops")


@dataclass(frozen=True)
class CorpusParams:
    """A folder of videos and how to read it: the section `index_videos`."""

    data_path: Path = setting("folder of the videos", implies={"dataset": AUTO, "manifest": None})
    dataset: str = setting(f"folder layout: {', '.join(NAMES)}")
    compression: str = setting("compression of FaceForensics++ to read: raw, c23 or c40")
    pictures: str = setting(
        "what a folder of pictures in a class folder is: single pictures, frames of a video, crops of the face in a video, "
        "or auto: frames if their names are numbered",
        choices=PICTURES,
    )
    domain: str = setting(
        "part of DF40 to read: ff or cdf, whose videos are from FaceForensics++ or Celeb-DF; own, of methods with real "
        "pictures of their own; or all",
        choices=(ALL_DOMAINS, *DOMAINS),
    )
    manifest: Path | None = setting("table of the videos to read instead of a layout: CSV, TSV, JSON or JSON lines")
    columns: tuple[str, ...] = setting("columns of the manifest, such as video=Filename,label=Ground Truth")
    values: tuple[str, ...] = setting("values of the manifest's labels and splits, such as Forged=fake,Unclear=skip")
    splits: str = setting(
        "official splits where the corpus has them, splits by groups of people, or test: all videos are for testing",
        choices=(OFFICIAL, GROUPS, TEST_ONLY),
    )
    allow_leaks: bool = setting("continue even if a person, a file or the original of a fake is in two splits")
    skip_unknown: bool = setting("leave out folders of videos without a known label, and index the others")
    workers: int = setting("files to open in parallel", low=1, auto=available_cpus)
