"""MesoNet's published weights give the same results in our implementation as in Keras.

MESONET=folder tests the authors' files, with their pictures and the expected results in expected.json.
"""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from published_mesonet import PublishedMesoNet

from explain_deepfakes.model_test_train.networks.mesonet_weights import load_mesonet
from explain_deepfakes.model_test_train.networks.network import Network, empty_network, read_description
from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE

CONFIGS = {False: "meso4", True: "mesoinception4"}
PUBLISHED = os.environ.get("MESONET")


def empty(inception: bool) -> Network:
    return empty_network(read_description(CODE / f"model_test_train/configs/{CONFIGS[inception]}.yaml")).eval()


def realness(network: Network, pictures: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return 1 - network(network.input.prepare(pictures)).sigmoid().numpy()


@pytest.mark.parametrize("inception", [False, True])
def test_keras_weights_give_the_same_answers(inception: bool, tmp_path: Path) -> None:
    published = PublishedMesoNet(inception, seed=3)
    published.save(tmp_path / "weights.h5")
    network = empty(inception)
    load_mesonet(network, tmp_path / "weights.h5")
    # Coarse patterns, since all fine noise would give the same result.
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8)
    pictures = coarse.repeat(32, 1).repeat(32, 2)
    expected = published(pictures.astype(np.float64) / 255)
    assert np.abs(realness(network, list(pictures)) - expected).max() < 1e-3 * expected.std()


def test_weights_of_the_other_network_or_of_none_are_refused_in_words(tmp_path: Path) -> None:
    PublishedMesoNet(inception=True, seed=3).save(tmp_path / "weights.h5")
    with pytest.raises(UserError, match=r"has 16 conv2d layers, but the network of --config has 4"):
        load_mesonet(empty(inception=False), tmp_path / "weights.h5")
    (tmp_path / "text.h5").write_text("<html>Too many people have downloaded this file</html>")
    with pytest.raises(UserError, match="cannot be read as weights saved by Keras"):
        load_mesonet(empty(inception=False), tmp_path / "text.h5")


if PUBLISHED:

    @pytest.mark.parametrize("name", ["Meso4_DF", "Meso4_F2F", "MesoInception_DF", "MesoInception_F2F"])
    def test_the_published_files_give_the_published_answers(name: str) -> None:
        folder = Path(PUBLISHED or "")
        network = empty("Inception" in name)
        load_mesonet(network, folder / f"{name}.h5")
        for picture, expected in json.loads((folder / "expected.json").read_text())[name].items():
            realness_computed = realness(network, [cv2.imread(str(folder / picture))[..., ::-1]])[0]
            print(name, picture, f"{realness_computed:.5f}", expected)
            assert abs(realness_computed - expected) < 1e-3
