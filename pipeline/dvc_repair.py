"""Repair files of DVC that a killed run left half-written, and hide the demo's hashes from git.

DVC does not write its lock files atomically. The committed dvc.lock has no stages, because the last digits of results, and so
their hashes, differ between processors.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import yaml
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLockFileCorruptedError, RWLockFileFormatError, rwlock


def repair_dvc_files() -> None:
    """Repair lock files that DVC cannot parse. DVC itself reports all other problems."""
    with suppress(DvcException, OSError):
        repo = Repo()
        with repo.lock:  # the owner of this lock may be writing them right now
            _repair_rwlock(repo)
            _repair_lock_file(repo)


def hide_demo_lock_from_git() -> None:
    """Hide changes of dvc.lock from git as long as the demo is unchanged. Results of other settings should be committed."""
    with suppress(DvcException, OSError):
        folder = Path(Repo().root_dir)
        committed = _git(folder, "show", f"HEAD:./{LOCK_FILE}")
        is_demo = not committed.returncode and not yaml.safe_load(committed.stdout).get("stages")
        is_unchanged = not _git(folder, "diff", "--quiet", "HEAD", "--", "dvc.yaml", "params.yaml").returncode
        _git(folder, "update-index", "--skip-worktree" if is_demo and is_unchanged else "--no-skip-worktree", LOCK_FILE)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)


def _repair_rwlock(repo: Repo) -> None:
    """Remove a corrupt file of path locks; the locks of a killed process are void anyway."""
    hardlink = repo.config["core"].get("hardlink_lock", False)
    try:
        with rwlock(repo.tmp_dir, repo.fs, "repair", [], [], hardlink):
            pass
    except (RWLockFileCorruptedError, RWLockFileFormatError):
        path = Path(repo.tmp_dir) / RWLOCK_FILE
        path.unlink()
        _report(path, "removed")


def _repair_lock_file(repo: Repo) -> None:
    """Restore a corrupt dvc.lock. No result is lost, since DVC's run cache has all of them."""
    path = Path(repo.root_dir) / LOCK_FILE
    try:
        Lockfile(repo, str(path)).load()
    except DvcException:
        if b"<<<<<<<" in path.read_bytes():  # an unresolved merge is the user's to resolve
            return
        committed = _git(path.parent, "show", f"HEAD:./{LOCK_FILE}")
        if committed.returncode:
            path.unlink()
        else:
            path.write_bytes(committed.stdout)
        action = "removed" if committed.returncode else "restored to the committed version"
        _report(path, f"{action}; later results are restored from DVC's cache")


def _report(path: Path, action: str) -> None:
    print(f"{path.name} was left half-written by a killed run, and is {action}", file=sys.stderr, flush=True)
