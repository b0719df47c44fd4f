#!/usr/bin/env bash
# Activate the environment and submit jobs; called by the other scripts of this folder.
here=$(dirname "${BASH_SOURCE[0]}")
[ ! -f "$here/../.venv/bin/activate" ] || . "$here/../.venv/bin/activate"
exec python "$here/jobs.py" "$@"
