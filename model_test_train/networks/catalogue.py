"""Published detectors: a YAML each in configs/published, with the network and how its published weights become a checkpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from explain_deepfakes.model_test_train.networks.checkpoint import Checkpoint
from explain_deepfakes.model_test_train.networks.key_map import KeyMap, load_strictly, map_keys
from explain_deepfakes.model_test_train.networks.network import (
    PUBLISHED,
    Description,
    Network,
    empty_network,
    read_description,
    read_extended,
)
from explain_deepfakes.model_test_train.networks.pretrained import Weights, read_weights
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.params import build_settings, load_params, setting
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.crops.params import CropSettings
from explain_deepfakes.preprocessing.faces.params import DetectionParams

CATALOGUE = CODE / "model_test_train/configs/published"


@dataclass(frozen=True)
class WeightsFile:
    """Where the authors publish the weights."""

    page: str = setting("the page to download them from by hand")
    file: str = setting("name of the file")
    repository: str | None = setting("repository on the Hugging Face hub, or null")
    revision: str | None = setting("commit of the repository")
    url: str | None = setting("address of the file if it is not on the hub, or null")
    sha256: str | None = setting("hash of the file; null: the authors published none")


@dataclass(frozen=True)
class PublishedDetector:
    """The section `published` of a detector's YAML."""

    title: str = setting("name of the detector")
    citation: str = setting("the paper")
    licence: str = setting("licence of the weights")
    trained_on: tuple[str, ...] = setting("datasets it was trained on")
    metrics: str = setting("the metrics that the authors published, with dataset, level and unit")
    threshold: float = setting("fake probability above which a video is fake", low=0, high=1)
    aggregation: str = setting("how the authors make a video's score of those of its frames")
    frames: int = setting("frames per video that the authors score", low=1)
    drift: str = setting("how our crops differ from the authors'")
    crops: CropSettings = setting("settings of extract_crops")
    weights: WeightsFile = setting("where the weights are")
    further_weights: tuple[WeightsFile, ...] = setting("further files with weights of the same network")
    key_map: KeyMap = setting("how the tensors of the files become those of the network")

    @property
    def files(self) -> tuple[WeightsFile, ...]:
        return self.weights, *self.further_weights


@dataclass(frozen=True)
class CatalogueEntry:
    """A detector that this project can run with its authors' weights."""

    path: Path
    description: Description
    published: PublishedDetector

    @property
    def name(self) -> str:
        return self.path.stem


def catalogue_names() -> list[str]:
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


def find_entry(name: str) -> CatalogueEntry:
    """The entry of that name, or of the YAML at that path."""
    path = Path(name)
    if path.suffix != ".yaml":
        path = CATALOGUE / f"{name}.yaml"
        if not path.is_file():
            raise UserError(f"'{name}' is not in the catalogue; see `explain-deepfakes detectors`, or name a YAML")
    return read_entry(path)


def read_entry(path: Path) -> CatalogueEntry:
    section = read_extended(path).get(PUBLISHED)
    if not isinstance(section, dict):
        raise UserError(f"{path}: section '{PUBLISHED}' is missing")
    return CatalogueEntry(path, read_description(path), build_settings(PublishedDetector, section, f"{path.name}: {PUBLISHED}"))


def read_published_weights(entry: CatalogueEntry, paths: Sequence[Path]) -> Weights:
    """The tensors of all files of the detector."""
    files = entry.published.files
    if len(paths) != len(files):
        names = " and ".join(file.file for file in files)
        raise UserError(
            f"{entry.name} consists of {len(files)} files; name {names}: `explain-deepfakes fetch {entry.name} --weights`"
        )
    weights: Weights = {}
    for path in paths:
        tensors = read_weights(path)
        if repeated := weights.keys() & tensors.keys():
            raise UserError(f"{path} has tensors of the other file, for example {min(repeated)}")
        weights |= tensors
    return weights


def load_published(entry: CatalogueEntry, weights: Weights, origin: str) -> Network:
    """The detector with its published weights. Error messages call them `origin`."""
    network = empty_network(entry.description, entry.description["backbone"].get("pretrained"))
    load_strictly(network, map_keys(weights, entry.published.key_map, network, origin), origin)
    return network.eval()


def published_preprocessing(crops: CropSettings) -> dict[str, dict[str, object]]:
    """What a card records of the preprocessing: the authors' crops, of faces that this project detects."""
    detection = load_params("detect_faces", DetectionParams).detection_settings()
    return {"detect_faces": asdict(detection), "extract_crops": asdict(crops)}


def make_card(entry: CatalogueEntry, paths: Sequence[Path]) -> Checkpoint:
    """The card of the detector whose weights are in these files."""
    published = entry.published
    return Checkpoint(
        name=entry.name,
        description=entry.description,
        preprocessing=published_preprocessing(published.crops),
        threshold=published.threshold,
        calibration=None,
        trained_on=list(published.trained_on),
        provenance={
            "weights": ", ".join(map(content_hash, paths)),
            "licence": published.licence,
            "citation": published.citation,
        },
        aggregation=published.aggregation,
    )
