"""An error that the user can fix is one line; a bug keeps its traceback."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from explain_deepfakes.model_test_train.networks.registry import HEADS, build_module
from explain_deepfakes.pipeline.errors import UserError, run


def open_missing_file(folder: Path) -> None:
    (folder / "none.csv").read_text()


def write_to_a_full_disk(folder: Path) -> None:
    Path("/dev/full").write_text("more than fits")


def write_into_a_file(folder: Path) -> None:
    (folder / "file").touch()
    (folder / "file" / "below").write_text("")


def write_under_a_long_name(folder: Path) -> None:
    (folder / (300 * "a")).write_text("")


def read_from_a_closed_file(folder: Path) -> None:
    os.read(1_000_000, 1)


def wait_without_child(folder: Path) -> None:
    os.waitpid(os.getpid(), 0)


def raise_without_a_number(folder: Path) -> None:
    raise OSError("cannot write mode RGBA as JPEG")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (open_missing_file, "error: No such file or directory: {}/none.csv"),
        (write_to_a_full_disk, "error: No space left on device"),
        (write_into_a_file, "error: Not a directory: {}/file/below"),
        (write_under_a_long_name, "error: File name too long: {}/aaaa"),
    ],
)
def test_an_error_of_a_path_or_a_disk_is_one_line(
    work: Callable[[Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: work(tmp_path))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message.format(tmp_path))


@pytest.mark.parametrize("work", [read_from_a_closed_file, wait_without_child, raise_without_a_number])
def test_any_other_system_error_keeps_its_traceback(work: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r".") as raised:
        run(lambda: work(tmp_path))
    assert work.__name__ in [entry.name for entry in raised.traceback]


class BrokenHead(nn.Module):
    def __init__(self, channels: int, grid: tuple[int, int], depth: int = 1) -> None:
        super().__init__()
        self.width = channels + None  # type: ignore[operator]


@pytest.fixture
def broken_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "broken", BrokenHead)


def test_a_mistake_inside_a_network_is_not_taken_for_a_wrong_option(broken_head: None) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        build_module(HEADS, "detector", {"name": "broken", "depth": 2}, 8, (4, 4))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"width": 3}, "detector: got an unexpected keyword argument 'width'"),
        ({"channels": 3}, "detector: multiple values for argument 'channels'"),
    ],
)
def test_a_wrong_option_of_a_network_is_one_line(broken_head: None, option: dict[str, int], message: str) -> None:
    with pytest.raises(UserError) as error:
        build_module(HEADS, "detector", {"name": "broken", **option}, 8, (4, 4))
    assert str(error.value) == message
