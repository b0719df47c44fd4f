"""Describe and download datasets: their official tools run in our folder, can be interrupted, and their result is validated."""

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.ledger import content_hash
from explain_deepfakes.pipeline.outputs import write_text
from explain_deepfakes.pipeline.progress import track
from explain_deepfakes.preprocessing.corpus.known_datasets import (
    HUB,
    KAGGLE,
    KNOWN_DATASETS,
    SCRIPT,
    KnownDataset,
    find_dataset,
)
from explain_deepfakes.preprocessing.corpus.layouts.tree import format_names
from explain_deepfakes.preprocessing.corpus.lmdb_unpacking import unpack

CHECKSUMS = "SHA256SUMS"
MANUAL = "there is no public tool to download it"


def run_datasets_command(args: Namespace) -> None:
    if args.command == "show":
        print(describe(args.name))
    elif args.command == "fetch":
        fetch(args)
    elif args.command == "unpack":
        unpack(args)
    else:
        print_list()


def print_list() -> None:
    width = max(map(len, KNOWN_DATASETS)) + 2
    for name, dataset in KNOWN_DATASETS.items():
        print(f"{name:<{width}}{dataset.title}: {dataset.content}")
    print("\n`datasets show NAME` has the page, the terms, and how to get it.")


def describe(name: str) -> str:
    dataset = find_dataset(name)
    ready = f"explain-deepfakes index --data_path FOLDER --validate      (layout: {dataset.layout})"
    steps = [f"1. Read the terms, and request access if needed: {dataset.page}"]
    if dataset.tool:
        script = " --script FILE, which its authors send you," if dataset.tool == SCRIPT else ""
        steps.append(f"2. explain-deepfakes datasets fetch {name.upper()}{script} --output_path FOLDER")
    else:
        steps.append(f"2. Download and unpack it: {MANUAL}.")
    steps.append(f"3. {ready}")
    facts = (dataset.title, f"content: {dataset.content}", f"terms:   {dataset.terms}", f"page:    {dataset.page}")
    return "\n".join((*facts, "", *steps))


def fetch(args: Namespace) -> None:
    dataset = find_dataset(args.name)
    if not dataset.tool:
        raise UserError(f"{dataset.title}: {MANUAL}; `datasets show {args.name}` has the steps")
    command = download_command(dataset, args)  # raises if the tool is missing, before the terms are shown
    confirm_terms(dataset, args.accept_terms)
    args.output_path.mkdir(parents=True, exist_ok=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"the download did not finish; see the messages above. The same command resumes: {' '.join(sys.argv)}")
    check_sums(args.output_path)
    print(f"Downloaded to {args.output_path}. Unpack its archives, if there are any. Validation:")
    validate(args.output_path)


def download_command(dataset: KnownDataset, args: Namespace) -> list[str]:
    """Return the command line of the tool, which continues an earlier download. Raise if the tool is not there."""
    output = str(args.output_path)
    if dataset.tool == SCRIPT:
        if not args.script:
            raise UserError(
                f"{dataset.title} needs the script that its authors send you: {dataset.page}; name it with --script"
            )
        if not args.script.is_file():
            raise UserError(f"there is no script {args.script}")
        return [sys.executable, str(args.script), output, "-d", "all", "-c", args.compression, "-t", "videos"]
    if dataset.tool == KAGGLE:
        if not (kaggle := shutil.which("kaggle")):
            raise UserError("the tool 'kaggle' is not installed; run `pip install kaggle`, and store your API token as it says")
        return [kaggle, "competitions", "download", "-c", dataset.source, "-p", output]
    assert dataset.tool == HUB
    code = (
        "import sys\n"
        "try:\n"
        "    from huggingface_hub import snapshot_download\n"
        "except ImportError:\n"
        "    sys.exit('error: run `pip install huggingface_hub`, and `hf auth login` if the dataset is gated')\n"
        f"snapshot_download({dataset.source!r}, repo_type='dataset', local_dir={output!r})\n"
    )
    return [sys.executable, "-c", code]


def confirm_terms(dataset: KnownDataset, accepted: bool) -> None:
    """Raise unless the user accepts the terms, by the flag or by typing yes."""
    print(f"{dataset.title}\nterms: {dataset.terms}\nThe binding text is at {dataset.page}")
    if accepted:
        return
    if not sys.stdin.isatty():
        raise UserError("nothing was downloaded: read the terms, and add --accept_terms if you accept them")
    if input("Do you accept these terms? Type yes: ").strip().lower() != "yes":
        raise UserError("nothing was downloaded, since the terms were not accepted")


def check_sums(folder: Path) -> None:
    """Compare the files with the checksums of an earlier download, report changed files, and store the sums of new ones."""
    path = folder / CHECKSUMS
    known = dict(line.split("  ", 1)[::-1] for line in path.read_text().splitlines() if "  " in line) if path.is_file() else {}
    files = [file for file in _files_below(folder) if file != path]
    sums = {
        file.relative_to(folder).as_posix(): content_hash(file) for file in track(iter(files), len(files), "hashing", "files")
    }
    if changed := sorted(name for name, digest in known.items() if sums.get(name, digest) != digest):
        raise UserError(f"these files differ from {path}: {format_names(changed)}; delete them, and fetch again")
    write_text(path, "".join(f"{digest}  {name}\n" for name, digest in sorted({**known, **sums}.items())))


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # caches of the tools
        yield from (Path(parent, name) for name in sorted(names))


def validate(folder: Path) -> None:
    script = Path(__file__).parents[1] / "index_videos.py"
    status = subprocess.run([sys.executable, str(script), "--data_path", str(folder), "--validate"], check=False).returncode
    if status:
        raise UserError(f"{folder} is downloaded, but not ready yet; see the report above")
