"""The command explain-deepfakes: a subcommand for each script of the project."""

import ast
import sys
from importlib import import_module
from pathlib import Path

from explain_deepfakes.pipeline.errors import run

COMMANDS = {
    "predict": "serving.predict",
    "verify": "serving.verify",
    "serve": "serving.app",
    "index": "preprocessing.index_videos",
    "detect-faces": "preprocessing.detect_faces",
    "extract-crops": "preprocessing.extract_crops",
    "preprocess": "preprocessing.preprocess",
    "train": "model_test_train.train_model",
    "test": "model_test_train.test_model",
    "explain": "explain_model.explain_model",
    "explain-videos": "explain_model.explain_videos",
    "evaluate-explanations": "explain_model.evaluate_explanations",
    "report": "explain_model.report",
    "compare": "model_test_train.compare_models",
    "ensemble": "model_test_train.ensemble",
    "breakdown": "model_test_train.breakdown",
    "evaluate-scores": "model_test_train.evaluate_scores",
    "evaluate-transfer": "model_test_train.evaluate_transfer",
    "evaluate-robustness": "model_test_train.evaluate_robustness",
    "import-weights": "model_test_train.import_weights",
    "import-checkpoint": "model_test_train.import_checkpoint",
    "preview-augmentations": "model_test_train.preview_augmentations",
    "export-onnx": "serving.onnx_export",
    "registry": "serving.registry",
    "retrain": "serving.retrain",
    "make-demo-videos": "preprocessing.make_demo_videos",
    "make-portrait-videos": "preprocessing.make_portrait_videos",
    "cluster": "BWCluster.jobs",
}
HEADER = """usage: explain-deepfakes COMMAND [FLAGS]

Deepfake detection for face videos. `explain-deepfakes COMMAND --help` lists the flags of a command.

commands:"""


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(HEADER, *(f"  {name:22} {summary(module)}" for name, module in COMMANDS.items()), sep="\n")
    elif sys.argv[1] in COMMANDS:
        name = sys.argv.pop(1)
        sys.argv[0] = f"explain-deepfakes {name}"
        run(import_module(f"explain_deepfakes.{COMMANDS[name]}").main)
    else:
        sys.exit(f"error: '{sys.argv[1]}' is not a command; `explain-deepfakes --help` lists them")


def summary(module: str) -> str:
    """The first sentence of the module's docstring, read without importing the module."""
    source = Path(__file__).parent / f"{module.replace('.', '/')}.py"
    first_line = (ast.get_docstring(ast.parse(source.read_text())) or "").splitlines()[0]
    return first_line.removesuffix(".")


if __name__ == "__main__":
    main()
