"""A wrong setting ends at once, in one line that names the key and what it allows."""

from dataclasses import dataclass, fields

import pytest
import yaml

from pipeline.errors import UserError
from pipeline.params import build, setting
from pipeline.project import CODE
from preprocessing.detection import DetectionSettings
from preprocessing.extraction import CropSettings


@dataclass(frozen=True)
class Knobs:
    frames: int = setting("how many", low=1, high=64)
    margin: float = setting("how wide")
    reader: str = setting("which", choices=("pyav", "decord"))
    thresholds: tuple[float, ...] = setting("three", high=1)
    square: bool = setting("or not")
    limit: int | None = setting("or none")


GOOD = {"frames": 16, "margin": 1, "reader": "pyav", "thresholds": [0.8, 1], "square": True, "limit": None}


def test_good_values_come_typed() -> None:
    knobs = build(Knobs, GOOD, "here")
    assert knobs == Knobs(16, 1.0, "pyav", (0.8, 1.0), True, None)
    assert isinstance(knobs.margin, float)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frames": 0}, "here.frames is 0; the least it can be is 1"),
        ({"frames": 65}, "here.frames is 65; the most it can be is 64"),
        ({"frames": "many"}, "here.frames is 'many'; it must be a whole number"),
        ({"frames": True}, "here.frames is True; it must be a whole number"),
        ({"reader": "vlc"}, "here.reader is 'vlc'; it can be: pyav, decord"),
        ({"thresholds": [0.8, 2]}, "here.thresholds is 2.0; the most it can be is 1"),
        ({"thresholds": 0.8}, "here.thresholds is 0.8; it must be a list"),
        ({"square": "yes"}, "here.square is 'yes'; it must be true or false"),
        ({"frame": 3}, "here.frame is not a setting; there are: frames, margin, reader, thresholds, square, limit"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict, told: str) -> None:
    with pytest.raises(UserError) as error:
        build(Knobs, {**GOOD, **change}, "here")
    assert str(error.value) == told


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match=r"here\.margin is missing"):
        build(Knobs, {name: value for name, value in GOOD.items() if name != "margin"}, "here")


def test_a_network_is_trained_anew_for_what_changes_its_crops_and_not_for_another_number_of_workers() -> None:
    listed = yaml.safe_load((CODE / "dvc.yaml").read_text())["stages"]["train"]["params"]
    for section, settings in (("detect_faces", DetectionSettings), ("extract_crops", CropSettings)):
        assert [key for key in listed if key.startswith(section)] == [f"{section}.{field.name}" for field in fields(settings)]
