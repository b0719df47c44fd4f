#!/usr/bin/env bash
# Tests. Flags are those of model_test_train/test_model.py.
# On a SLURM cluster that --cluster FILE (else cluster.yaml) describes; --dry-run prints the jobs. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" test "$@"
