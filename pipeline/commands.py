"""Run another command of the project in a process of its own, with its own settings from params.yaml."""

import sys
from subprocess import call

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.project import CODE


def run_command(script: str, *flags: object) -> None:
    if status := call([sys.executable, str(CODE / script), *map(str, flags)]):
        raise UserError(f"{script} failed with exit status {status}; see its output above")
