"""Settings of the index. Importing this module loads no library."""

from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.cpus import available_cpus
from explain_deepfakes.pipeline.params import setting
from explain_deepfakes.preprocessing.corpus.layouts import AUTO, NAMES

OFFICIAL, GROUPS = "official", "groups"


@dataclass(frozen=True)
class CorpusParams:
    """A folder of videos and how to read it: the section `index_videos`."""

    data_path: Path = setting("folder of the videos", implies={"dataset": AUTO})
    dataset: str = setting(f"folder layout: {', '.join(NAMES)}")
    compression: str = setting("compression of FaceForensics++ to read: raw, c23 or c40")
    splits: str = setting(
        "official splits where the corpus has them, or splits by groups of people", choices=(OFFICIAL, GROUPS)
    )
    allow_leaks: bool = setting("continue even if a person, a file or the original of a fake is in two splits")
    skip_unknown: bool = setting("leave out folders of videos without a known label, and index the others")
    workers: int = setting("files to open in parallel", low=1, auto=available_cpus)
