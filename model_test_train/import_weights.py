"""Import pretrained weights into data/weights, pinned by their hash, for `pretrained: true` in a network's YAML.

    python model_test_train/import_weights.py --config YAML                  # downloads with the library that publishes them
    python model_test_train/import_weights.py --config YAML --weights FILE   # uses a file that you downloaded

No stage downloads anything: the initial weights of a network are a file whose hash is in git and in dvc.lock.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="the YAML of a network with pretrained weights")
    parser.add_argument("--weights", type=Path, help="a file with a state dict (default: download it)")
    args = parser.parse_args()
    from explain_deepfakes.model_test_train.networks.weights_import import import_for_config

    import_for_config(args)


if __name__ == "__main__":
    run(main)
