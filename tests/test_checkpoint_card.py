"""Whatever is written into a checkpoint's card or an ensemble file, it is loaded, or refused in one sentence."""

import copy
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explain_deepfakes.model_test_train.evaluation.predictor import load_predictor
from explain_deepfakes.model_test_train.metrics.calibration import Calibration
from explain_deepfakes.model_test_train.networks.checkpoint import parse_card, read_card
from explain_deepfakes.model_test_train.networks.network import empty_network
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.params import build_settings
from explain_deepfakes.preprocessing.crops.params import CropSettings
from explain_deepfakes.serving.examination.examiner import Examiner
from explain_deepfakes.serving.models.default_model import SHIPPED

CPU = torch.device("cpu")
MISSING = object()
WRONG_VALUES = (MISSING, None, "x", [1], {"a": 1}, float("nan"), -1)


def split_file() -> tuple[dict[str, Any], bytes]:
    """The header of the shipped checkpoint, and its weights."""
    data = SHIPPED.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_card(path: Path, text: str) -> Path:
    header, weights = split_file()
    header["__metadata__"] = {"checkpoint": text}
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    path.write_bytes(struct.pack("<Q", len(content)) + content + weights)
    return path


def variants(fields: dict[str, Any], depth: int = 3) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field missing or wrong, one at a time, also in sections and sub-sections."""
    for name, value in fields.items():
        for wrong in WRONG_VALUES:
            kept = {key: other for key, other in fields.items() if key != name}
            yield f"{name} {wrong}", kept if wrong is MISSING else {**kept, name: wrong}
        if isinstance(value, dict) and depth > 1:
            yield from ((f"{name}.{inner}", {**fields, name: changed}) for inner, changed in variants(value, depth - 1))


def test_a_card_with_any_wrong_value_is_loaded_or_refused_in_one_sentence() -> None:
    card = json.loads(split_file()[0]["__metadata__"]["checkpoint"])
    refused = dict[str, str]()
    for change, fields in variants(card):
        try:
            parsed = parse_card(copy.deepcopy(fields), "x.safetensors")
            empty_network(parsed.description)
            if "extract_crops" in parsed.preprocessing:
                build_settings(CropSettings, parsed.preprocessing["extract_crops"], "extract_crops")
            if parsed.calibration:
                Calibration.from_dict(parsed.calibration).uncertain_band(0.1)
        except UserError as error:
            refused[change] = str(error)
    assert len(refused) > 100
    assert [change for change, message in refused.items() if "\n" in message] == []


@pytest.mark.parametrize("text", ["[" * 100_000, "5", "null", "[]", "{}", "no JSON"])
def test_a_card_that_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="card"):
        read_card(with_card(tmp_path / "x.safetensors", text))


def test_the_message_names_the_field() -> None:
    card = json.loads(split_file()[0]["__metadata__"]["checkpoint"])
    with pytest.raises(
        UserError, match=r"x has no valid checkpoint card: 'threshold' is invalid \(Input should be a valid number"
    ):
        parse_card({**card, "threshold": "high"}, "x")
    card["description"]["detector"]["depth"] = "two"
    with pytest.raises(UserError, match="detector.depth is 'two'; it must be an integer"):
        empty_network(parse_card(card, "x").description)


def test_without_the_settings_of_its_crops_a_checkpoint_examines_nothing(tmp_path: Path) -> None:
    card = json.loads(split_file()[0]["__metadata__"]["checkpoint"])
    del card["preprocessing"]["extract_crops"]
    with pytest.raises(UserError, match="cannot examine files: its card has no settings of extract_crops"):
        Examiner.load(with_card(tmp_path / "x.safetensors", json.dumps(card)), "cpu")


def test_an_ensemble_with_any_wrong_value_is_loaded_or_refused_in_one_sentence(tmp_path: Path) -> None:
    card = json.loads(split_file()[0]["__metadata__"]["checkpoint"])
    ensemble = {
        "members": {"first": {"file": str(SHIPPED), "sha256": content_hash(SHIPPED)}},
        "temperatures": [1.0],
        "way": "average",
        "learnt": {"weights": [1.0], "scale": 1.0},
        "agreement": 0.5,
        "validation": {},
        "held_out": False,
        "card": card,
    }
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps(ensemble))
    picture = np.full((64, 64, 3), 128, np.uint8)
    assert np.isfinite(load_predictor(path, CPU).predict([picture])[0]).all()
    refused = dict[str, str]()
    without_card = {name: value for name, value in ensemble.items() if name != "card"}
    for change, fields in variants(without_card):
        path.write_text(json.dumps({**fields, "card": card}))
        try:
            load_predictor(path, CPU)
        except UserError as error:
            refused[change] = str(error)
    assert len(refused) > 30
    assert [change for change, message in refused.items() if "\n" in message] == []
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not an ensemble file"):
        load_predictor(path, CPU)
