"""Exceptions that report errors to the user, with the exit codes of the command line."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import NoReturn

_leave = os._exit
_inside = threading.local()


class MalTfError(Exception):
    """An error that the user can fix. Its message says what was expected, what was found, where, and what to do.

    The command line prints only the message. Any other exception is a bug and keeps its traceback.

    Attributes:
        exit_code: exit status of the command line.

    Example:
        >>> import mal_tf
        >>> try:
        ...     mal_tf.register("last")
        ... except mal_tf.MalTfError as error:
        ...     print(error)
        'last' is a built-in attribution mechanism; register yours under another name
    """

    exit_code = 1


class BadInput(MalTfError):
    """Input files, or tables in memory, do not match the config or the arguments. Either of the two may be the one to fix."""


class Busy(MalTfError):
    """Another process holds the lock of a directory; run the same command again when it has ended. Exit code 75."""

    exit_code = 75


class Interrupted(MalTfError):
    """The process was told to stop; the same command resumes. Exit code 75 is `EX_TEMPFAIL` ("try again") of sysexits.h."""

    exit_code = 75


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """Context manager within which `os._exit` raises `SystemExit` in this thread, so that a user's code can't end the process.

    It would end without a word, and with status 0 as if all was done. Processes that are forked within leave as they ask. The
    function stays replaced, as several threads may be within at once; outside, it ends the process as before.
    """
    before = getattr(_inside, "process", None)
    os._exit = _exit
    _inside.process = os.getpid()
    try:
        yield
    finally:
        _inside.process = before


def _exit(status: int) -> NoReturn:
    if getattr(_inside, "process", None) == os.getpid():
        raise SystemExit(f"os._exit({status})")
    _leave(status)


@contextlib.contextmanager
def named_errors(where: str) -> Iterator[None]:
    """Context manager that turns what is raised within, `SystemExit` too, into a MalTfError whose message begins with `where`."""
    try:
        with foreign_code():
            yield
    except MalTfError as error:
        raise type(error)(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        raise MalTfError(f"{where}: {type(error).__name__}: {error}") from error
