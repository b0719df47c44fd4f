"""`python -m pipeline.mended_dvc repro` is `dvc repro`, but first mends what one that was killed left half-written.

DVC writes its lock files in place. And it keeps git from showing the demo's hashes as a change: dvc.lock holds those of
what this machine computed, and other processors compute other last digits. The repository's dvc.lock names no stage.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import yaml
from dvc.cli import main
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLockFileCorruptedError, RWLockFileFormatError, rwlock


def mend() -> None:
    """What DVC cannot read. All else that may be wrong, it tells itself when it begins."""
    with suppress(DvcException, OSError):
        repo = Repo()
        with repo.lock:  # who holds it, may be writing them
            _mend_claims(repo)
            _mend_results(repo)


def hide_results_of_demo() -> None:
    """From git, as long as nothing of the demo was changed. The results of one's own settings are to be committed."""
    with suppress(DvcException, OSError):
        folder = Path(Repo().root_dir)
        committed = _git(folder, "show", f"HEAD:./{LOCK_FILE}")
        is_demo = not committed.returncode and not yaml.safe_load(committed.stdout).get("stages")
        is_unchanged = not _git(folder, "diff", "--quiet", "HEAD", "--", "dvc.yaml", "params.yaml").returncode
        _git(folder, "update-index", "--skip-worktree" if is_demo and is_unchanged else "--no-skip-worktree", LOCK_FILE)


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)


def _mend_claims(repo: Repo) -> None:
    """Of running commands on paths: those of one that was killed are void in any case."""
    hardlink = repo.config["core"].get("hardlink_lock", False)
    try:
        with rwlock(repo.tmp_dir, repo.fs, "mend", [], [], hardlink):
            pass
    except (RWLockFileCorruptedError, RWLockFileFormatError):
        claims = Path(repo.tmp_dir) / RWLOCK_FILE
        claims.unlink()
        _tell(claims, "removed")


def _mend_results(repo: Repo) -> None:
    """What stages left, by hash: DVC's cache knows all of it as well, by what the stages read."""
    results = Path(repo.root_dir) / LOCK_FILE
    try:
        Lockfile(repo, str(results)).load()
    except DvcException:
        if b"<<<<<<<" in results.read_bytes():  # whose merge it is, knows better
            return
        committed = _git(results.parent, "show", f"HEAD:./{LOCK_FILE}")
        if committed.returncode:
            results.unlink()
        else:
            results.write_bytes(committed.stdout)
        done = "removed" if committed.returncode else "put back as it was committed"
        _tell(results, f"{done}; what was made since then is taken from DVC's cache")


def _tell(path: Path, done: str) -> None:
    print(f"{path.name} was left half-written by a run that was killed, and is {done}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    mend()
    hide_results_of_demo()
    sys.exit(main(sys.argv[1:]))
