"""The one kind of error that is the user's to mend, and how a command ends on it: one line, exit status 2."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A wrong setting, a missing file, a layout nobody knows: the message says what is wrong and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a command; an error the user can mend ends it in one line instead of a traceback."""
    try:
        main()
    except UserError as error:
        # One that comes out of a data loader's process has that process's traceback before its own words.
        sys.exit(_say(str(error).splitlines()[-1].removeprefix(f"{type(error).__module__}.{type(error).__name__}: "), 2))
    except OSError as error:  # disk full, permission denied, a folder that is a file
        where = f": {error.filename}" if error.filename else ""
        sys.exit(_say(f"{error.strerror or error}{where}", 2))
    except KeyboardInterrupt:
        sys.exit(_say("stopped; what is finished is kept, the same command takes up from there", 130))


def _say(message: str, status: int) -> int:
    print(f"error: {message}" if status == 2 else message, file=sys.stderr)
    return status
