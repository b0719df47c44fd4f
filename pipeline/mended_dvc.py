"""`dvc`, after repairing its files. `make repro` runs it.

python pipeline/mended_dvc.py repro      # takes the arguments of dvc
"""

import argparse
import sys


def print_help_if_requested(doc: str) -> None:
    """Print the help and exit if the command line is --help: DVC takes more than a second to print its own."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        parser = argparse.ArgumentParser(description=doc.split("\n")[0])
        parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="arguments of dvc, such as: repro test")
        parser.print_help()
        sys.exit()


def main() -> None:
    print_help_if_requested(__doc__ or "")
    from dvc.cli import main as run_dvc

    from explain_deepfakes.pipeline.dvc_repair import hide_demo_lock_from_git, repair_dvc_files

    repair_dvc_files()
    hide_demo_lock_from_git()
    sys.exit(run_dvc(sys.argv[1:]))


if __name__ == "__main__":
    main()
