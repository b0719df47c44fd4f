#!/usr/bin/env bash
# Test a detector. Accepts the flags of model_test_train/test_model.py.
# Runs as SLURM jobs with the resources of --cluster FILE (default: cluster.yaml); --dry-run prints the job scripts. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" test "$@"
