#!/usr/bin/env bash
# Explain predictions. Accepts the flags of explain_model/explain_model.py.
# Runs as SLURM jobs with the resources of --cluster FILE (default: cluster.yaml); --dry-run prints the job scripts. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" explain "$@"
