#!/usr/bin/env bash
# Run the whole DAG as dependent jobs, with the settings of params.yaml; preprocessing is split into --shards N shards.
# Runs as SLURM jobs with the resources of --cluster FILE (default: cluster.yaml); --dry-run prints the job scripts. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" repro "$@"
