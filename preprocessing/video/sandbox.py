"""Confines a process that decodes files of unknown origin, so that a decoder taken over by a file can do little.

After `confine`, the process cannot write to the disk, use the network, start programs or processes, or signal others. What it
has open stays usable: the connection to its parent, and shared memory. On Linux, a seccomp filter does this; where that is not
available, only the limits of resources apply. `clean_environment` keeps secrets of the parent from such processes.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MAX_FILE_BYTES = 1 << 20  # that it may write to what is open already: messages of the libraries
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
KEPT_PREFIXES = ("LC_", "PYTHON", "OMP_", "OPENBLAS_", "COVERAGE_")

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06  # opcodes of the filter
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in the data of a system call; each argument has 8 bytes
CLONE_THREAD = 0x00010000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


# System calls that are refused, and their numbers on x86-64 and on ARM64, which lacks some old ones.
REFUSED: dict[str, tuple[int, int | None]] = {
    # network
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # programs and other processes
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    # the system
    "mount": (165, 40),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    # changes of files and folders
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "link": (86, None),
    "linkat": (265, 37),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "truncate": (76, 45),
}


class Machine(NamedTuple):
    """A type of processor: its code, and its numbers of system calls."""

    audit_code: int
    open: int | None
    openat: int
    clone: int
    refused: tuple[int, ...]


MACHINES = {
    "x86_64": Machine(0xC000003E, 2, 257, 56, tuple(number for number, _ in REFUSED.values())),
    "aarch64": Machine(0xC00000B7, None, 56, 220, tuple(number for _, number in REFUSED.values() if number)),
}
CLONE3, OPENAT2 = 435, 437  # their arguments are in memory, which a filter cannot read; libraries then use the older calls


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a decoder may need, without tokens and passwords."""
    return {name: value for name, value in environment.items() if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)}


def confine() -> bool:
    """Confine this process and all of its threads for the rest of its life. Return whether system calls are filtered."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    machine = MACHINES.get(platform.machine())
    if platform.system() != "Linux" or not machine:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    code = b"".join(_filter(machine))
    instructions = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    return not libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)


def _filter(machine: Machine) -> Iterator[bytes]:
    """The instructions of the filter. A jump skips that many instructions."""
    yield _instruction(LOAD, ARCHITECTURE)
    yield _instruction(JUMP_IF_EQUAL, machine.audit_code, if_true=1)
    yield _refuse(errno.EPERM)
    yield _instruction(LOAD, NUMBER)
    for refused in machine.refused:
        yield _instruction(JUMP_IF_EQUAL, refused, if_false=1)
        yield _refuse(errno.EPERM)
    for number in (CLONE3, OPENAT2):
        yield _instruction(JUMP_IF_EQUAL, number, if_false=1)
        yield _refuse(errno.ENOSYS)
    yield _instruction(JUMP_IF_EQUAL, machine.clone, if_false=4)  # threads only
    yield _instruction(LOAD, ARGUMENTS)
    yield _instruction(JUMP_IF_SET, CLONE_THREAD, if_true=1)
    yield _refuse(errno.EPERM)
    yield _instruction(RETURN, ALLOW)
    for opening, position in ((machine.open, 1), (machine.openat, 2)):
        if opening is not None:
            yield _instruction(JUMP_IF_EQUAL, opening, if_false=4)  # reading only
            yield _instruction(LOAD, ARGUMENTS + 8 * position)
            yield _instruction(JUMP_IF_SET, WRITING, if_false=1)
            yield _refuse(errno.EACCES)
            yield _instruction(RETURN, ALLOW)
    yield _instruction(RETURN, ALLOW)


def _refuse(error: int) -> bytes:
    return _instruction(RETURN, REFUSE | error)


def _instruction(opcode: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", opcode, if_true, if_false, value)
