"""`dvc` in a SLURM job, after a repair of its files. On SIGTERM it waits for its stage and unlocks the project."""

import signal
import sys

from dvc.cli import main

from explain_deepfakes.pipeline.mended_dvc import repair_dvc_files

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN, not inherited: the stage gets the signal and ends
    repair_dvc_files()
    sys.exit(main(sys.argv[1:]))
