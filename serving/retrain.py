"""Retrain for cron: train again if data, settings or code changed, and deploy the result if it is not worse.

    python serving/retrain.py [--deploy /srv/model] [--server http://127.0.0.1:8000] [--notify notify.yaml]

Exit status: 0 if nothing changed, another retraining is running, or all went well; 1 if training failed, or if the new model
was not promoted or does not work. notify.yaml names the recipients of a message about the outcome:

    webhook: https://…                   # receives {"text": "…"}
    email: {host: …, port: 587, from: …, to: …, user: …, password: …}

Protect this file (chmod 600); its contents are never printed or logged.
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.serving.models.params import SERVER_HELP


def main() -> None:
    parser = argparse.ArgumentParser(description="Train again if something changed, and deploy the result if it is not worse.")
    parser.add_argument("--registry", type=Path, default=from_root("data/registry"), help="folder of the registry")
    parser.add_argument("--deploy", type=Path, help="deployment folder for the version in production")
    parser.add_argument(
        "--server",
        metavar="URL",
        help=SERVER_HELP,
    )
    parser.add_argument("--notify", type=Path, metavar="YAML", help="file with the recipients of a message about the outcome")
    args = parser.parse_args()
    from explain_deepfakes.serving.models.retraining import retrain_if_changed

    retrain_if_changed(args)


if __name__ == "__main__":
    run(main)
