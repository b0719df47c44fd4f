#!/usr/bin/env bash
# Tests. Flags are those of model_test_train/test_model.py.
# On a SLURM cluster that --cluster FILE (else cluster.yaml) describes; --dry-run prints the jobs. See docs/cluster.md.
here=$(dirname "${BASH_SOURCE[0]}")
[ ! -f "$here/../.venv/bin/activate" ] || . "$here/../.venv/bin/activate"
exec python "$here/jobs.py" test "$@"
