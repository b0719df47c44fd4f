"""List the known datasets, and fetch those that have a public download tool. Nothing is fetched before you accept the terms.

python preprocessing/datasets.py                                      # all known datasets
python preprocessing/datasets.py show DFDC                            # page, terms, and how to get it
python preprocessing/datasets.py fetch DFDC --output_path /data/dfdc  # runs the official tool, resumes, and validates
python preprocessing/datasets.py unpack FaceForensics++_lmdb --output_path /data/rgb
python preprocessing/datasets.py fetch FACEFORENSICS --script download-FaceForensics.py --output_path /data/ff
"""

import argparse
from pathlib import Path

from explain_deepfakes.pipeline.errors import run
from explain_deepfakes.pipeline.params import flag_spellings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="list all known datasets (default)")
    show_parser = commands.add_parser("show", help="describe a dataset, and how to get it")
    show_parser.add_argument("name", help="name of the dataset")
    fetch_parser = commands.add_parser("fetch", help="download a dataset with its official tool, and validate it")
    fetch_parser.add_argument("name", help="name of the dataset")
    fetch_parser.add_argument(*flag_spellings("output_path"), type=Path, required=True, help="folder for the dataset")
    fetch_parser.add_argument("--script", type=Path, help="the download script that its authors sent you, if it needs one")
    fetch_parser.add_argument(
        *flag_spellings("accept_terms"), action="store_true", help="accept the terms without being prompted"
    )
    fetch_parser.add_argument("--compression", default="c23", help="compression of FaceForensics++ (default: %(default)s)")
    unpack_parser = commands.add_parser("unpack", help="unpack an LMDB of DeepfakeBench into folders")
    unpack_parser.add_argument("name", type=Path, metavar="LMDB", help="the LMDB")
    unpack_parser.add_argument(*flag_spellings("output_path"), type=Path, required=True, help="folder for the files")
    args = parser.parse_args()
    from explain_deepfakes.preprocessing.corpus.dataset_download import run_datasets_command

    run_datasets_command(args)


if __name__ == "__main__":
    run(main)
