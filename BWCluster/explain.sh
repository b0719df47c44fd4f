#!/usr/bin/env bash
# Explains. Flags are those of explain_model/explain_model.py.
# On a SLURM cluster that --cluster FILE (else cluster.yaml) describes; --dry-run prints the jobs. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" explain "$@"
