"""A wrong setting ends at once, in one line that names the key and what it allows."""

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from explain_deepfakes.explain_model.maps import methods as map_methods
from explain_deepfakes.explain_model.maps.params import METHOD_NAMES
from explain_deepfakes.model_test_train.ensembles.params import FUSION_NAMES
from explain_deepfakes.model_test_train.evaluation import fusion
from explain_deepfakes.model_test_train.evaluation.attacks import ATTACKS
from explain_deepfakes.model_test_train.evaluation.corruptions import CORRUPTIONS
from explain_deepfakes.model_test_train.evaluation.params import CLEAN, ROBUSTNESS_KINDS
from explain_deepfakes.model_test_train.training.params import PRECISIONS
from explain_deepfakes.pipeline import cpus
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.params import build_settings, load_params, read_command_line, setting
from explain_deepfakes.pipeline.project import CODE
from explain_deepfakes.preprocessing.crops.params import CropParams, CropSettings
from explain_deepfakes.preprocessing.faces.params import DetectionParams, DetectionSettings
from explain_deepfakes.preprocessing.portrait_corpus import manipulations
from explain_deepfakes.preprocessing.portrait_corpus import params as portrait_corpus
from explain_deepfakes.preprocessing.video.reencoding import ENCODING_CHAINS


@dataclass(frozen=True)
class Knobs:
    frames: int = setting("how many", low=1, high=64)
    margin: float = setting("how wide")
    reader: str = setting("which", choices=("pyav", "decord"))
    thresholds: tuple[float, ...] = setting("three", high=1)
    square: bool = setting("or not")
    limit: int | None = setting("or none")
    workers: int = setting("how many at once", low=1, auto=lambda: 5)


GOOD = {"frames": 16, "margin": 1, "reader": "pyav", "thresholds": [0.8, 1], "square": True, "limit": None, "workers": 2}


def test_good_values_come_typed() -> None:
    knobs = build_settings(Knobs, GOOD, "here")
    assert knobs == Knobs(16, 1.0, "pyav", (0.8, 1.0), True, None, 2)
    assert isinstance(knobs.margin, float)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frames": 0}, "here.frames is 0; the minimum is 1"),
        ({"frames": 65}, "here.frames is 65; the maximum is 64"),
        ({"frames": "many"}, "here.frames is 'many'; it must be an integer"),
        ({"frames": True}, "here.frames is True; it must be an integer"),
        ({"reader": "vlc"}, "here.reader is 'vlc'; choose from: pyav, decord"),
        ({"thresholds": [0.8, 2]}, "here.thresholds is 2.0; the maximum is 1"),
        ({"thresholds": 0.8}, "here.thresholds is 0.8; it must be a list"),
        ({"square": "yes"}, "here.square is 'yes'; it must be true or false"),
        ({"reader": 8}, "here.reader is 8; it must be a string; add quotes if YAML parses it as another type"),
        ({"frame": 3}, "here.frame is not a setting; available: frames, margin, reader, thresholds, square, limit, workers"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        build_settings(Knobs, {**GOOD, **change}, "here")
    assert str(error.value) == told


def test_auto_is_what_suits_this_machine_where_a_setting_allows_it() -> None:
    assert build_settings(Knobs, {**GOOD, "workers": "auto"}, "here").workers == 5
    with pytest.raises(UserError, match="here.frames is 'auto'; it must be an integer"):
        build_settings(Knobs, {**GOOD, "frames": "auto"}, "here")


def test_a_container_has_the_cpus_of_its_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "CGROUP_QUOTA", tmp_path / "cpu.max")
    unlimited = cpus.available_cpus()
    for quota, expected in (("max 100000", unlimited), ("100000 100000", 1), ("50000 100000", 1), ("broken", unlimited)):
        (tmp_path / "cpu.max").write_text(quota)
        assert cpus.available_cpus() == expected, quota


def test_the_workers_of_a_stage_share_its_threads() -> None:
    params = load_params("detect_faces", DetectionParams, {"workers": 4, "threads": 8})
    assert params.in_worker("cpu").threads == 2
    assert replace(params, workers=16).in_worker("cpu").threads == 1


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match=r"here\.margin is missing"):
        build_settings(Knobs, {name: value for name, value in GOOD.items() if name != "margin"}, "here")


@dataclass(frozen=True)
class Flags:
    dataset: str = setting("a name")
    account: str | None = setting("a name, or none")
    methods: tuple[str, ...] = setting("names")
    thresholds: tuple[float, ...] = setting("numbers")
    frames: int | None = setting("a number, or none")
    rate: float = setting("a number")
    square: bool = setting("or not")
    workers: int = setting("how many at once", auto=lambda: 5)


IN_PARAMS = {
    "dataset": "All",
    "account": "lab",
    "methods": [],
    "thresholds": [0.5],
    "frames": 16,
    "rate": 1.0,
    "square": True,
    "workers": 2,
}


def flags_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *flags: str) -> Flags:
    """What a command reads in a project whose `params.yaml` has these settings."""
    (folder / "params.yaml").write_text(yaml.safe_dump({"stage": IN_PARAMS}))
    (folder / "dvc.yaml").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["command", *flags])
    return read_command_line("A command.", "stage", Flags)[0]


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (("--dataset", "010"), "dataset", "010"),
        (("--dataset", "no"), "dataset", "no"),
        (("--dataset", "null"), "dataset", "null"),
        (("--dataset", "a: b"), "dataset", "a: b"),
        (("--dataset", "[0.6,"), "dataset", "[0.6,"),
        (("--account", "0042"), "account", "0042"),
        (("--account", "none"), "account", None),
        (("--account", "null"), "account", None),
        (("--methods", "[010, no]"), "methods", ("010", "no")),
        (("--thresholds", "[0.6, 1e-3]"), "thresholds", (0.6, 0.001)),
        (("--thresholds", "0.6, 1e-3"), "thresholds", (0.6, 0.001)),
        (("--methods", "no"), "methods", ("no",)),
        (("--frames", "010"), "frames", 10),
        (("--frames", "null"), "frames", None),
        (("--rate", "1e-3"), "rate", 0.001),
        (("--rate", "2"), "rate", 2.0),
        (("--workers", "auto"), "workers", 5),
        (("--workers", "3"), "workers", 3),
        (("--no-square",), "square", False),
    ],
)
def test_a_flag_is_read_by_the_type_of_its_setting(
    flags: tuple[str, ...], name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = flags_of(tmp_path, monkeypatch, *flags)
    assert settings == build_settings(Flags, {**IN_PARAMS, name: value}, "expected")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--thresholds", "[0.6,"), "--thresholds is '[0.6,', which is not valid YAML: while parsing a flow node"),
        (("--thresholds", "{a: 1}"), "--thresholds is '{a: 1}'; it must be a list, such as [a,b]"),
        (("--thresholds", "[0.6, many]"), "--thresholds is 'many'; it must be a number"),
        (("--frames", "many"), "--frames is 'many'; it must be an integer"),
        (("--rate", "12:30"), "--rate is '12:30'; it must be a number"),
    ],
)
def test_a_flag_that_cannot_be_read_is_named_in_one_line(
    flags: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as error:
        flags_of(tmp_path, monkeypatch, *flags)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_indexes_depend_on_all_settings_but_the_number_of_workers() -> None:
    stages = yaml.safe_load((CODE / "dvc.yaml").read_text())["stages"]
    settings = {f"index_videos.{name}" for name in yaml.safe_load((CODE / "params.yaml").read_text())["index_videos"]}
    own, of_protocol = stages["index_videos"]["params"], stages["index_dataset"]["do"]["params"]
    assert settings - set(own) == {"index_videos.workers"}
    assert settings - set(of_protocol) == {"index_videos.workers", "index_videos.dataset", "index_videos.data_path"}  # flags


def test_a_network_is_trained_anew_for_what_changes_its_crops_and_not_for_another_number_of_workers() -> None:
    """The crops contain their settings, and the stage depends on the crops alone."""
    train = yaml.safe_load((CODE / "dvc.yaml").read_text())["stages"]["train"]
    assert "data/crops" in train["deps"]
    assert train["params"] == ["train"]

    def recorded(**changed: object) -> dict[str, dict[str, object]]:
        common = {name: value for name, value in changed.items() if name == "workers"}
        detection = load_params("detect_faces", DetectionParams, common)
        return {**detection.recorded_settings(), **load_params("extract_crops", CropParams, changed).recorded_settings()}

    assert recorded(workers=7) == recorded()
    assert recorded(margin=0.7) != recorded()
    for stage, settings in (("detect_faces", DetectionSettings), ("extract_crops", CropSettings)):
        assert list(recorded()[stage]) == [field.name for field in fields(settings)]


def test_the_names_in_settings_are_those_of_what_they_select() -> None:
    """Settings list names themselves, because importing what they select takes seconds."""
    assert tuple(map_methods.METHODS) == METHOD_NAMES
    assert tuple(manipulations.METHODS) == portrait_corpus.METHOD_NAMES
    assert tuple(fusion.FUSION_METHODS) == FUSION_NAMES
    assert (CLEAN, *CORRUPTIONS, *ENCODING_CHAINS, *ATTACKS) == ROBUSTNESS_KINDS
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in PRECISIONS)
