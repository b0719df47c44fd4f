#!/usr/bin/env bash
# Train a detector. Accepts the flags of model_test_train/train_model.py: bash train_model.sh --config /path/to/config.yaml.
# Runs as SLURM jobs with the resources of --cluster FILE (default: cluster.yaml); --dry-run prints the job scripts. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" train "$@"
