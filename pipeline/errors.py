"""Errors that the user can fix. They end a command with a message of one line and exit status 2."""

import errno
import sys
from collections.abc import Callable
from typing import NoReturn

# Problems of the machine: a full or broken disk, too many open files, a closed output pipe (`| head`).
MACHINE_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EFBIG,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.EPIPE,
}
# Problems with a path, which the error must name. All other system errors are bugs of ours.
PATH_ERRNOS = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EBUSY,
    errno.ETXTBSY,
}


class UserError(Exception):
    """A wrong setting, a missing file or an unknown layout. The message says what is wrong and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a command. An error that the user can fix ends it with one line instead of a traceback."""
    try:
        main()
    except UserError as error:
        # An error raised in a worker process of a data loader has that process's traceback before its message.
        message = str(error).splitlines()[-1].removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
        _exit(f"error: {message}", 2)
    except OSError as error:
        if not is_user_error(error):
            raise
        path = f": {error.filename}" if error.filename else ""
        _exit(f"error: {error.strerror or error}{path}", 2)
    except KeyboardInterrupt:
        _exit("interrupted; finished work is kept, and the same command resumes", 130)


def is_user_error(error: OSError) -> bool:
    """Whether the user can fix it: a path, a permission, a disk. Any other system error is a bug and keeps its traceback."""
    return error.errno in MACHINE_ERRNOS or (error.errno in PATH_ERRNOS and error.filename is not None)


def _exit(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
