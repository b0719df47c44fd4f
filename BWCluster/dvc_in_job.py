"""`dvc`, mended; when the job is told to end, it waits for its stage to end, and unlocks the project as after any failure."""

import signal
import sys

from dvc.cli import main

from pipeline.mended_dvc import mend

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN, it isn't inherited: the stage is told, and ends
    mend()
    sys.exit(main(sys.argv[1:]))
