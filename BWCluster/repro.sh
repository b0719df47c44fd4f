#!/usr/bin/env bash
# The whole DAG as jobs that wait for one another, with the settings of params.yaml; --shards N parts of the videos.
# On a SLURM cluster that --cluster FILE (else cluster.yaml) describes; --dry-run prints the jobs. See docs/cluster.md.
exec bash "$(dirname "${BASH_SOURCE[0]}")/submit.sh" repro "$@"
