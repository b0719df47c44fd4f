"""The model registry: versions of a detector, their tests, and which of them is in production. Nothing is ever overwritten.

    python serving/registry.py add data/models/best.safetensors --tests results/tests
    python serving/registry.py list
    python serving/registry.py promote 2 [--force]    # to production, if a comparison shows that it is not worse
    python serving/registry.py deploy /srv/model [--server http://127.0.0.1:8000]    # the version in production
    python serving/registry.py return /srv/model      # back to the previously deployed checkpoint

A server that was started with `--model_path /srv/model/current.safetensors` loads the new checkpoint between two jobs.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.serving.models.params import MARGIN, SERVER_HELP


def main() -> None:
    parser = argparse.ArgumentParser(description="Register, compare, promote and deploy versions of a detector.")
    parser.add_argument("--registry", type=Path, default=from_root("data/registry"), help="folder of the registry")
    commands = parser.add_subparsers(dest="command", required=True)
    add_parser = commands.add_parser("add", help="register a checkpoint as the next version, a candidate")
    add_parser.add_argument("model", type=Path, help="checkpoint to register")
    add_parser.add_argument("--tests", type=Path, help="folder that test_model.py wrote for this checkpoint")
    commands.add_parser("list", help="list all versions")
    promote_parser = commands.add_parser(
        "promote", help="put a version into production, if a comparison shows that it is not worse"
    )
    promote_parser.add_argument("version", type=int, help="number of the version")
    promote_parser.add_argument(
        "--margin", type=float, default=MARGIN, help=f"acceptable loss of video-level AUC (default: {MARGIN})"
    )
    promote_parser.add_argument("--force", action="store_true", help="promote it whatever the comparison shows")
    for name, help_text in (
        ("deploy", "install the version in production"),
        ("return", "activate the previously deployed checkpoint again"),
    ):
        deploy_parser = commands.add_parser(name, help=help_text)
        deploy_parser.add_argument(
            "folder", type=Path, help="deployment folder; the active checkpoint is its current.safetensors"
        )
        deploy_parser.add_argument(
            "--server",
            metavar="URL",
            help=SERVER_HELP,
        )
    args = parser.parse_args()
    from explain_deepfakes.serving.models.registry import run_registry_command

    run_registry_command(args)


if __name__ == "__main__":
    run(main)
