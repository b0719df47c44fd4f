"""Every command starts in a fresh process, as it does for a user. The other tests start from preloaded processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from explain_deepfakes.pipeline.project import CODE

PACKAGES = ("preprocessing", "model_test_train", "explain_model", "serving", "BWCluster")
COMMANDS = [
    path.relative_to(CODE)
    for package in PACKAGES
    for path in sorted((CODE / package).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_starts_cold_and_describes_its_flags(command: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, CODE / command, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")
