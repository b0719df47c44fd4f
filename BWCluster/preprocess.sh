#!/usr/bin/env bash
# Finds the faces and cuts them out: a job array over parts of the videos, --shards N, then a merge. Flags are those of preprocessing/preprocess.py.
# On a SLURM cluster that --cluster FILE (else cluster.yaml) describes; --dry-run prints the jobs. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" preprocess "$@"
