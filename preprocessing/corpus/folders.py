"""The folders of a corpus's results: index, boxes, crops and masks.

Results of the corpus in `params.yaml` are in the project's data/. Results of a folder at `--data_path` are in that folder, so
that they never overwrite those of another corpus. Results of training and testing are at `--output_path`; a folder with the
results of another corpus is not overwritten.
"""

from dataclasses import dataclass
from pathlib import Path

from explain_deepfakes.pipeline.buckets import is_in_bucket
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.outputs import write_text
from explain_deepfakes.pipeline.params import PathFlag, SwitchFlag
from explain_deepfakes.pipeline.project import absolute, from_root, relative

INDEX = "index/videos.csv"
CORPUS_FILE = "corpus.txt"  # written to a folder of results: the corpus that they belong to


@dataclass(frozen=True)
class CorpusFolders:
    """The folders with the results of one corpus, below the project's data/ or the corpus itself."""

    top: Path

    @classmethod
    def at(cls, data_path: Path | None) -> "CorpusFolders":
        return cls(data_path or from_root("data"))

    @property
    def index(self) -> Path:
        return (from_root("data") if is_in_bucket(self.top) else self.top) / INDEX  # the index must be on a local disk

    @property
    def boxes(self) -> Path:
        return self.top / "boxes"

    @property
    def crops(self) -> Path:
        return self.top / "crops"


CROPS_FLAGS: dict[str, PathFlag | SwitchFlag] = {
    "index": PathFlag(None, "index of the videos (default: the one beside the crops, else data/index/videos.csv)"),
    "crops": PathFlag("data/crops", "crops of the videos, or the corpus folder that contains them"),
    "replace": SwitchFlag("overwrite results of another corpus in the output folder"),
}


def index_for(crops: Path, index: Path | None = None) -> Path:
    """Return the index that the crops belong to: this one, else that of the same corpus folder, else the project's own."""
    candidates = (folder / INDEX for folder in (crops, crops.parent))
    return index or next((path for path in candidates if path.is_file()), from_root("data") / INDEX)


def claim(output: Path, index: Path, replace: bool | None) -> None:
    """Record the corpus that a folder of results belongs to. Raises if it holds results of another corpus."""
    note, project_data, index = output / CORPUS_FILE, relative(from_root("data")), absolute(index)
    corpus = relative(index.parents[1]) if index.as_posix().endswith(f"/{INDEX}") else project_data
    if note.is_file():
        recorded = note.read_text().strip()
    else:
        recorded = project_data if output.is_dir() and any(output.iterdir()) else corpus
    if recorded != corpus and not replace:
        raise UserError(
            f"{output} holds the results of the corpus in {recorded}, but this run uses the corpus in {corpus}; choose another "
            "folder with --output_path, or add --replace to overwrite them"
        )
    write_text(note, f"{corpus}\n")
