"""Landlock: rules of the kernel for what a process and its children may open, connect to and signal.

The rules grant rights; the kernel denies every right that it knows and no rule grants. The C library has no
functions for Landlock, so this module makes the three system calls itself.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

#: The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
#: Number of rights on files, by version of the interface.
_NUM_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_FILE_RIGHTS = 16
_PORT_RIGHTS = 0b11
_SCOPES = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Return the version of the kernel's interface; 0 if there is none, or it is switched off."""
    answer = int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION))
    return max(0, answer)


def read_only(paths: Iterable[Path]) -> int:
    """Make a set of rules that allows to read these files and folders, and nothing else.

    No file can be written, made, removed or run. From version 4 on, no TCP port can be bound or connected to.
    From version 6 on, no process outside can be signalled, and no abstract socket outside reached.

    Returns:
        A descriptor for `restrict`, valid in forked processes too.

    Raises:
        OSError: the kernel offers no Landlock.
    """
    known = version()
    rules = _Ruleset(
        files=(1 << _NUM_FILE_RIGHTS.get(known, _ALL_FILE_RIGHTS)) - 1,
        ports=_PORT_RIGHTS if known >= 4 else 0,
        scopes=_SCOPES if known >= 6 else 0,
    )
    size = 8 * (1 + (known >= 4) + (known >= 6))
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    for path in paths:
        _allow_reading(ruleset, path)
    return ruleset


def _allow_reading(ruleset: int, path: Path) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a missing file needs no rule
        return
    try:
        rights = _READ_FILE | (_READ_DIR if path.is_dir() else 0)
        rule = _PathRule(rights=rights, folder=folder)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(folder)


def restrict(ruleset: int) -> None:
    """Apply a set of rules to this process for the rest of its life; needs no-new-privileges.

    Raises:
        OSError: the kernel rejects it.
    """
    _call(_RESTRICT_SELF, ruleset, 0)


def _call(number: int, *arguments: object) -> int:
    answer = int(_libc.syscall(number, *arguments))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock, system call {number}: {os.strerror(error)}")
    return answer
