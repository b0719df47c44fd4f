"""All packages that the set-up installs have a licence that permits to use them, or are named in NOTICE."""

from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from explain_deepfakes.pipeline.project import CODE

PERMISSIVE = (
    "mit",
    "bsd",
    "apache",
    "psf",
    "python software foundation",
    "isc",
    "mpl",
    "mozilla public license",
    "zpl",
    "unlicense",
    "cc0",
    "0bsd",
    "hpnd",
    "zlib",
    "license agreement for matplotlib",
    "copyright (c) 2015, matplotlib project",
    "copyright (c) 2001-2002 enthought",
    "expat",
    "oldap-2.8",  # of OpenLDAP, as BSD
)
RESTRICTED = ("gpl", "proprietary", "nonfree", "commercial")
IN_NOTICE = ("nvidia", "cuda-", "pygit2", "grandalf", "asyncssh", "dulwich", "decord", "atheris")
OWN = "explain-deepfakes"


def licence_of(distribution: Distribution) -> str:
    metadata = distribution.metadata
    classifiers = [name.split("::")[-1].strip() for name in metadata.get_all("Classifier") or [] if name.startswith("License")]
    stated = metadata.get("License-Expression") or metadata.get("License") or ""
    return " ".join([stated.split("\n")[0], *classifiers]).strip()


@pytest.fixture(scope="module")
def licences() -> dict[str, str]:
    named = {found.metadata["Name"]: found for found in distributions() if found.metadata["Name"] != OWN}
    return {name.lower(): licence_of(found).lower() for name, found in named.items()}


def test_each_licence_is_known_or_explained(licences: dict[str, str]) -> None:
    others = {name: text for name, text in licences.items() if not name.startswith(IN_NOTICE)}
    unclear = {name: text for name, text in others.items() if not any(word in text for word in PERMISSIVE)}
    restricted = {name: text for name, text in others.items() if any(word in text for word in RESTRICTED)}
    assert not unclear, "no known licence; look at it, and add it to the list or to NOTICE"
    assert not restricted, "a restricted licence; explain in NOTICE what follows from it"


def test_what_is_restricted_is_named_in_the_notice() -> None:
    notice = (CODE / "NOTICE").read_text()
    for name in ("x264", "x265", "decord", "NVIDIA", "pygit2", "grandalf", "asyncssh", "London Set", "facenet-pytorch"):
        assert name in notice
    assert Path(CODE / "LICENSE").is_file()
