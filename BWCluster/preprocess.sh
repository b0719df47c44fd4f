#!/usr/bin/env bash
# Detect faces and extract crops: a job array over --shards N shards of the videos, then a merge. Accepts the flags of preprocessing/preprocess.py.
# Runs as SLURM jobs with the resources of --cluster FILE (default: cluster.yaml); --dry-run prints the job scripts. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" preprocess "$@"
