"""Export a checkpoint's network to ONNX, for programs without PyTorch.

    python serving/onnx_export.py [--model_path CHECKPOINT] [--output MODEL.onnx]

Input: `pictures` (n, size, size, 3), uint8, RGB: face crops resized to the network's input size. Output: `fake_probability`
(n,). The checkpoint card is stored as metadata. The file is written only if its outputs equal those of PyTorch.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings
from explain_deepfakes.pipeline.project import from_root


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a trained network to ONNX.")
    parser.add_argument(
        *flag_spellings("model_path"), type=Path, default=from_root("data/models/best.safetensors"), help="checkpoint to export"
    )
    parser.add_argument("--output", type=Path, help="ONNX file to write (default: beside the checkpoint)")
    args = parser.parse_args()
    from explain_deepfakes.serving.models.checkpoint_export import export_checkpoint

    export_checkpoint(args)


if __name__ == "__main__":
    run(main)
