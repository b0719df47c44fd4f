"""Work in several processes, some of which end before it does."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.workers import map_unordered


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.02)


def double(number: int) -> int:
    return 2 * number


def double_or_die(number: int, by: signal.Signals, mark: Path | None = None) -> int:
    """3 ends its process: always, or if there is a mark to leave, the first time."""
    if number == 3 and not (mark and mark.exists()):
        if mark:
            mark.touch()
        os.kill(os.getpid(), by)
        time.sleep(60)
    return 2 * number


def end_quietly(number: int) -> int:
    os._exit(7)


def note_pid_and_wait(number: int, folder: Path) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(60)
    return number


def fail_on_three(number: int) -> int:
    if number == 3:
        raise OSError(28, "No space left on device", "crop.png")
    return number


def refuse() -> None:
    raise UserError("there is no GPU")


def died(number: int, how: str) -> tuple[int, str]:
    return number, how


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_every_item_is_worked_on_once(workers: int) -> None:
    assert sorted(map_unordered(double, range(4), workers)) == [0, 2, 4, 6]


def test_without_items_no_process_is_started() -> None:
    assert list(map_unordered(end_quietly, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_is_killed_costs_only_its_item(workers: int, by: signal.Signals) -> None:
    results = list(map_unordered(partial(double_or_die, by=by), range(8), workers, on_crash=died))
    assert results[-1] == (3, by.name)
    assert sorted(results[:-1]) == [0, 2, 4, 8, 10, 12, 14]


def test_an_item_that_killed_its_process_once_is_tried_again(tmp_path: Path) -> None:
    work = partial(double_or_die, by=signal.SIGKILL, mark=tmp_path / "mark")
    assert sorted(map_unordered(work, range(6), 2, on_crash=died)) == [0, 2, 4, 6, 8, 10]


def test_where_nobody_knows_what_to_make_of_a_death_the_user_is_told() -> None:
    with pytest.raises(UserError, match="exit status 7.*lower workers"):
        list(map_unordered(end_quietly, [1], 2))


def test_an_error_in_a_process_is_raised_here_with_all_it_says() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        list(map_unordered(fail_on_three, range(10), 2))
    assert (caught.value.errno, caught.value.filename) == (28, "crop.png")
    assert "fail_on_three" in str(caught.value.__cause__)


def test_an_error_while_preparing_is_raised_here() -> None:
    with pytest.raises(UserError, match="there is no GPU"):
        list(map_unordered(double, range(4), 2, refuse))


def test_items_are_taken_only_when_a_process_is_free_for_them() -> None:
    taken = []
    results = map_unordered(double, (taken.append(number) or number for number in range(100)), 2)
    next(results)
    results.close()
    assert len(taken) <= 4


def test_closing_ends_the_processes_in_the_middle_of_their_work(tmp_path: Path) -> None:
    first = map_unordered(partial(note_pid_unless_first, folder=tmp_path), range(10), 2)
    assert next(first) == 0
    wait_until(lambda: list(tmp_path.iterdir()))
    first.close()
    assert not any(alive(int(path.name)) for path in tmp_path.iterdir())


def note_pid_unless_first(number: int, folder: Path) -> int:
    return note_pid_and_wait(number, folder) if number else 0


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_command_that_started_them(tmp_path: Path, stop: signal.Signals) -> None:
    script = tmp_path / "command.py"
    script.write_text(
        "import signal, sys\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from explain_deepfakes.pipeline.errors import run\n"
        "from explain_deepfakes.pipeline.workers import map_unordered\n"
        "from test_workers import note_pid_and_wait\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # in the background, the tests begin without it
        "    run(lambda: print(list(map_unordered(partial(note_pid_and_wait, folder=Path(sys.argv[1])), range(9), 2))))\n"
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    command = subprocess.Popen(
        [sys.executable, str(script), str(pids)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: len(list(pids.iterdir())) == 2)
    if stop == signal.SIGINT:
        os.killpg(command.pid, stop)  # as a terminal does: all of them get it
    else:
        command.kill()
    _, said = command.communicate(timeout=20)
    assert said == ("interrupted; finished work is kept, and the same command resumes\n" if stop == signal.SIGINT else "")
    wait_until(lambda: not any(alive(int(path.name)) for path in pids.iterdir()))
