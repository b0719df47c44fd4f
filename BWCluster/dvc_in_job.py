"""`dvc` in a SLURM job, after a repair of its files. On SIGTERM it waits for its stage and unlocks the project.

python BWCluster/dvc_in_job.py repro test      # takes the arguments of dvc
"""

import argparse
import signal
import sys


def main() -> None:
    if sys.argv[1:] in (["-h"], ["--help"]):
        parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
        parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="arguments of dvc, such as: repro test")
        parser.print_help()
        return
    signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN, not inherited: the stage gets the signal and ends
    from dvc.cli import main as run_dvc  # takes a second to import

    from explain_deepfakes.pipeline.mended_dvc import repair_dvc_files

    repair_dvc_files()
    sys.exit(run_dvc(sys.argv[1:]))


if __name__ == "__main__":
    main()
