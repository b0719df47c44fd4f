#!/usr/bin/env bash
# Trains. Flags are those of model_test_train/train_model.py: bash train_model.sh --config /path/to/config.yaml.
# On a SLURM cluster that --cluster FILE (else cluster.yaml) describes; --dry-run prints the jobs. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" train "$@"
