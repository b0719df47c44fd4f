"""One command of the project runs another, as a user would: with its settings from params.yaml and its own memory."""

import sys
from subprocess import call

from pipeline.errors import UserError
from pipeline.project import CODE


def run_command(script: str, *flags: object) -> None:
    if status := call([sys.executable, str(CODE / script), *map(str, flags)]):
        raise UserError(f"{script} ended with {status}, as told above")
