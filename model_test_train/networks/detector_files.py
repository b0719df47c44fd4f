"""Install published detectors: get the authors' weights, verify them, and write a checkpoint that every command accepts."""

import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from explain_deepfakes.model_test_train.networks.catalogue import (
    CatalogueEntry,
    WeightsFile,
    catalogue_names,
    find_entry,
    load_published,
    make_card,
    read_published_weights,
)
from explain_deepfakes.model_test_train.networks.checkpoint import save_checkpoint
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.project import from_root, relative

BY_HAND, DOWNLOADABLE, INSTALLED = "by hand", "downloadable", "installed"
TIMEOUT = 30  # seconds without an answer


def detector_path(name: str) -> Path:
    """Where `fetch` puts the checkpoint of a published detector."""
    return from_root(f"data/detectors/{name}.safetensors")


def installed_detector(name: str) -> Path:
    if name.endswith(".py"):
        raise UserError(
            f"a Python file gives scores only: `explain-deepfakes score-videos --detector {name} FILE --output scores.csv`"
        )
    path = detector_path(find_entry(name).name)
    if not path.is_file():
        raise UserError(f"the detector {name} is not installed; run `explain-deepfakes fetch {name}`")
    return path


def status_of(entry: CatalogueEntry) -> str:
    weights = entry.published.weights
    if detector_path(entry.name).is_file():
        return INSTALLED
    return DOWNLOADABLE if weights.repository or weights.url else BY_HAND


def list_detectors() -> None:
    entries = [find_entry(name) for name in catalogue_names()]
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        published = entry.published
        print(f"{entry.name:{width}}  {status_of(entry):12}  {published.licence}; trained on {', '.join(published.trained_on)}")
    print("`explain-deepfakes fetch NAME` installs a detector; docs/detectors.md says how exactly each was verified.")


def show_detector(name: str) -> None:
    entry = find_entry(name)
    published = entry.published
    rows = {
        "status": status_of(entry),
        "paper": published.citation,
        "licence": published.licence,
        "trained on": ", ".join(published.trained_on),
        "published metrics": published.metrics,
        "crops": published.drift,
        "score of a video": f"{published.aggregation}, of {published.frames} frames",
        "weights": f"{' and '.join(file.file for file in published.files)}, from {published.weights.page}",
    }
    print(published.title, *(f"  {label}: {text}" for label, text in rows.items()), sep="\n")


def fetch_detector(args: Namespace) -> None:
    entry = find_entry(args.name)
    output = args.output or detector_path(entry.name)
    with weights_of(entry, args.weights) as paths:
        for path, file in zip(paths, entry.published.files, strict=False):  # their number is checked when they are read
            verify(path, file, entry.name)
        weights = read_published_weights(entry, paths)
        network = load_published(entry, weights, " and ".join(path.name for path in paths))
        card = make_card(entry, paths)
    save_checkpoint(output, network, card)
    print(f"{relative(output)}: {entry.published.title}, {sum(weight.numel() for weight in network.parameters()):,} weights")
    print(f"Licence: {entry.published.licence}. {entry.published.citation}")


@contextmanager
def weights_of(entry: CatalogueEntry, paths: Sequence[Path] | None) -> Iterator[Sequence[Path]]:
    """Yield the authors' files: the user's copies, or such that are downloaded for as long as they are needed."""
    if paths:
        for path in paths:
            if not path.is_file():
                raise UserError(f"there is no file {path}")
        yield paths
        return
    with tempfile.TemporaryDirectory() as folder:
        yield [_download(file, Path(folder), entry.name) for file in entry.published.files]


def _download(weights: WeightsFile, folder: Path, name: str) -> Path:
    by_hand = f"download {weights.file} from {weights.page}, and name it: `explain-deepfakes fetch {name} --weights FILE`"
    if not weights.repository and not weights.url:
        raise UserError(f"the weights of {name} cannot be downloaded by a command; {by_hand}")
    try:
        if weights.repository:
            from huggingface_hub import hf_hub_download  # takes a second to import

            return Path(hf_hub_download(weights.repository, weights.file, revision=weights.revision, local_dir=folder))
        from urllib.request import urlopen

        target = folder / weights.file
        with urlopen(str(weights.url), timeout=TIMEOUT) as answer, target.open("wb") as file:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
        return target
    except Exception as error:  # each library has its own errors for an unreachable hub
        raise UserError(f"the weights of {name} could not be downloaded ({type(error).__name__}); {by_hand}") from error


def verify(path: Path, weights: WeightsFile, name: str) -> None:
    if weights.sha256 and content_hash(path) != weights.sha256:
        raise UserError(
            f"{path.name} is not the file that the authors of {name} published: its SHA-256 is {content_hash(path)} instead of "
            f"{weights.sha256}; download it again from {weights.page}"
        )
