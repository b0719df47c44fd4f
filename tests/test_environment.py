"""pyproject.toml, requirements.lock and environment.yml agree."""

import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line.split(" --hash")[0]) for line in lines]
    return {requirement.name.lower().replace("_", "-"): requirement for requirement in requirements}


def declared() -> list[Requirement]:
    """The direct dependencies and all extras, except for `docs`, which `make docs` installs."""
    text = re.sub(r"(?m)^docs = .*$", "", (ROOT / "pyproject.toml").read_text())
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    return [Requirement(requirement) for requirement in re.findall(r'"([A-Za-z][^"]*)"', block)]


def test_the_lock_pins_every_package_to_one_version() -> None:
    for name, requirement in locked().items():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], name


def test_the_lock_meets_what_pyproject_asks_for() -> None:
    pins = locked()
    for requirement in declared():
        (pin,) = pins[requirement.name.lower().replace("_", "-")].specifier
        assert requirement.specifier.contains(pin.version, prereleases=True), requirement


def test_every_package_has_hashes_that_pip_compares() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", line), line[:60]


def test_the_lock_names_no_index() -> None:
    assert not re.search(r"https?:|--index|--find-links|file:", (ROOT / "requirements.lock").read_text())


def test_conda_installs_the_same_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "explain_deepfakes"
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["-r requirements.lock"]
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python="))
    assert python.removeprefix("python=") in ("3.11", "3.12", "3.13", "3.14")
