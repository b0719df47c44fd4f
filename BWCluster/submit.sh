#!/usr/bin/env bash
# Activates the environment and submits: what the scripts beside it have in common.
here=$(dirname "${BASH_SOURCE[0]}")
[ ! -f "$here/../.venv/bin/activate" ] || . "$here/../.venv/bin/activate"
exec python "$here/jobs.py" "$@"
