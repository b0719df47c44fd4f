"""The command explain-deepfakes: a subcommand for each script of the project."""

import sys
from importlib import import_module
from typing import NamedTuple

from explain_deepfakes.pipeline.errors import run


class Command(NamedTuple):
    module: str  # in this package; imported when it is used
    summary: str


COMMANDS = {
    "predict": Command("serving.predict", "get the verdict on videos or pictures, and the evidence for it"),
    "verify": Command("serving.verify", "examine a file again, and list what differs from its report"),
    "serve": Command("serving.app", "start the server: a web page for your videos, and an HTTP API"),
    "datasets": Command("preprocessing.datasets", "list the known datasets, and fetch those with a public tool"),
    "index": Command("preprocessing.index_videos", "index a dataset; with --validate, report what is wrong with it"),
    "detect-faces": Command("preprocessing.detect_faces", "detect and track faces in the videos of a dataset"),
    "extract-crops": Command("preprocessing.extract_crops", "crop the detected faces"),
    "preprocess": Command("preprocessing.preprocess", "detect and crop in one pass, for large datasets"),
    "train": Command("model_test_train.train_model", "train a network"),
    "test": Command("model_test_train.test_model", "test a network: verdicts, metrics, ROC"),
    "explain": Command("explain_model.explain_model", "compute heatmaps of the tested faces"),
    "explain-videos": Command("explain_model.explain_videos", "annotate tested videos with boxes, scores and heatmaps"),
    "evaluate-explanations": Command("explain_model.evaluate_explanations", "measure how far the heatmaps can be trusted"),
    "report": Command("explain_model.report", "write the report of a run as one HTML page"),
    "compare": Command("model_test_train.compare_models", "compare two networks on the same videos"),
    "ensemble": Command("model_test_train.ensemble", "combine several networks"),
    "breakdown": Command("model_test_train.breakdown", "break down the metrics of a test by attributes of people"),
    "evaluate-scores": Command("model_test_train.evaluate_scores", "compute all metrics for scores from any source"),
    "evaluate-transfer": Command("model_test_train.evaluate_transfer", "test networks on unseen manipulations"),
    "protocol-table": Command("model_test_train.protocol_table", "compare tests on several datasets with published results"),
    "evaluate-robustness": Command("model_test_train.evaluate_robustness", "test a network under corruptions and attacks"),
    "import-weights": Command("model_test_train.import_weights", "import pretrained weights to start training from"),
    "import-checkpoint": Command("model_test_train.import_checkpoint", "import the weights of a published detector"),
    "score-videos": Command("serving.score_videos", "score videos with several detectors, as a table"),
    "detectors": Command("model_test_train.list_detectors", "list the published detectors that can be used"),
    "score-landmarks": Command("model_test_train.score_landmarks", "score videos by the motion of facial landmarks"),
    "fetch": Command("model_test_train.fetch_detector", "install a published detector"),
    "preview-augmentations": Command("model_test_train.preview_augmentations", "draw all augmentations of a crop"),
    "export-onnx": Command("serving.onnx_export", "export a network to ONNX"),
    "registry": Command("serving.registry", "manage the versions of a detector"),
    "retrain": Command("serving.retrain", "train again if something changed, and deploy if it is not worse"),
    "make-demo-videos": Command("preprocessing.make_demo_videos", "render the synthetic demo corpus"),
    "make-portrait-videos": Command("preprocessing.make_portrait_videos", "make a corpus with true masks from portraits"),
    "cluster": Command("BWCluster.jobs", "submit the stages as SLURM jobs"),
}
HEADER = """usage: explain-deepfakes COMMAND [FLAGS]

Deepfake detection for face videos. `explain-deepfakes COMMAND --help` lists the flags of a command.

commands:"""


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(HEADER, *(f"  {name:22} {command.summary}" for name, command in COMMANDS.items()), sep="\n")
    elif sys.argv[1] in COMMANDS:
        name = sys.argv.pop(1)
        sys.argv[0] = f"explain-deepfakes {name}"
        run(import_module(f"explain_deepfakes.{COMMANDS[name].module}").main)
    else:
        sys.exit(f"error: '{sys.argv[1]}' is not a command; `explain-deepfakes --help` lists them")


if __name__ == "__main__":
    main()
