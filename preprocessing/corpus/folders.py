"""Where the results for a corpus lie: index, boxes, crops and masks.

Those of the corpus that `params.yaml` names lie in the project's data/, those of a folder that `--data_path` names in that
folder itself, so that work on one corpus never touches the results of another. What is trained and tested on them lies where
`--output_path` says; a folder that holds the results for another corpus is not written to.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.buckets import is_in_bucket
from pipeline.errors import UserError
from pipeline.outputs import write_text
from pipeline.params import PathFlag, SwitchFlag
from pipeline.project import absolute, from_root, relative

INDEX = "index/videos.csv"
NOTE = "corpus.txt"


@dataclass(frozen=True)
class CorpusFolders:
    """Where the results for one corpus lie: in the project's data/, or in the folder of videos that the command line names."""

    top: Path

    @classmethod
    def of(cls, data_path: Path | None) -> "CorpusFolders":
        return cls(data_path or from_root("data"))

    @property
    def index(self) -> Path:
        return (from_root("data") if is_in_bucket(self.top) else self.top) / INDEX  # it is read from a disk

    @property
    def boxes(self) -> Path:
        return self.top / "boxes"

    @property
    def crops(self) -> Path:
        return self.top / "crops"


CROPS_FLAGS: dict[str, PathFlag | SwitchFlag] = {
    "index": PathFlag(None, "the index of videos (default: the one beside the crops, else data/index/videos.csv)"),
    "crops": PathFlag("data/crops", "the crops of its videos, or the corpus folder that holds them"),
    "replace": SwitchFlag("overwrite the results for another corpus where they lie in the output folder"),
}


def index_for(crops: Path, index: Path | None = None) -> Path:
    """The index that the crops belong to: the one named, else the one in the same corpus folder, else the project's own."""
    beside = (folder / INDEX for folder in (crops, crops.parent))
    return index or next((path for path in beside if path.is_file()), from_root("data") / INDEX)


def claim(output: Path, index: Path, replace: bool | None) -> None:
    """Notes in a folder of results which corpus they are for; one with the results for another corpus is refused."""
    note, own, index = output / NOTE, relative(from_root("data")), absolute(index)
    corpus = relative(index.parents[1]) if index.as_posix().endswith(f"/{INDEX}") else own
    held = note.read_text().strip() if note.is_file() else own if output.is_dir() and any(output.iterdir()) else corpus
    if held != corpus and not replace:
        raise UserError(
            f"{output} holds the results for the corpus in {held}, but this run is about that in {corpus}; choose another "
            "folder with --output_path, or add --replace to overwrite them"
        )
    write_text(note, f"{corpus}\n")
