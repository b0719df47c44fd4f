"""`dvc` in a SLURM job, after a repair of its files. On SIGTERM it waits for its stage and unlocks the project.

python BWCluster/dvc_in_job.py repro test      # takes the arguments of dvc
"""

import signal
import sys

from explain_deepfakes.pipeline.mended_dvc import print_help_if_requested


def main() -> None:
    print_help_if_requested(__doc__ or "")
    signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN, not inherited: the stage gets the signal and ends
    from dvc.cli import main as run_dvc  # takes a second to import

    from explain_deepfakes.pipeline.dvc_repair import repair_dvc_files

    repair_dvc_files()
    sys.exit(run_dvc(sys.argv[1:]))


if __name__ == "__main__":
    main()
