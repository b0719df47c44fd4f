"""The one kind of error that is the user's to mend, and how a command ends on it: one line, exit status 2."""

import errno
import sys
from collections.abc import Callable

# Of the machine: a disk that is full or broken, too many open files, a reader of the output that has gone (`| head`).
OF_THE_MACHINE = {
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
# Of a path, which must then be named. All other system errors are mistakes of ours.
OF_A_PATH = {
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
    """A wrong setting, a missing file, a layout nobody knows: the message says what is wrong and what to do."""


def run(main: Callable[[], None]) -> None:
    """Run a command; an error the user can mend ends it in one line instead of a traceback."""
    try:
        main()
    except UserError as error:
        # One that comes out of a data loader's process has that process's traceback before its own words.
        sys.exit(_say(str(error).splitlines()[-1].removeprefix(f"{type(error).__module__}.{type(error).__name__}: "), 2))
    except OSError as error:
        if not is_of_the_user(error):
            raise
        where = f": {error.filename}" if error.filename else ""
        sys.exit(_say(f"{error.strerror or error}{where}", 2))
    except KeyboardInterrupt:
        sys.exit(_say("stopped; what is finished is kept, the same command takes up from there", 130))


def is_of_the_user(error: OSError) -> bool:
    """Whether the user can mend it: a path, a permission, a disk. Any other is a mistake of ours and keeps its traceback."""
    return error.errno in OF_THE_MACHINE or (error.errno in OF_A_PATH and error.filename is not None)


def _say(message: str, status: int) -> int:
    print(f"error: {message}" if status == 2 else message, file=sys.stderr)
    return status
