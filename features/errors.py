"""Errors for users, with the exit codes of the command line."""


class MalTfError(Exception):
    """An error that the user can fix: its message says what was expected, what was found, where, and what to do.

    The command line prints the message alone; any other exception is a bug and keeps its traceback.

    Attributes:
        exit_code: the command line's.
    """

    exit_code = 1


class BadInput(MalTfError):
    """Files or rows do not match the config. Either may be wrong, which the code that raises this error can't tell."""


class Busy(MalTfError):
    """Another process holds the directory; run the same command again once that has ended. Exit code 75, as `Interrupted`."""

    exit_code = 75


class Interrupted(MalTfError):
    """Stopped from outside; the same command resumes. Exit code 75: `EX_TEMPFAIL`, try again, of sysexits.h."""

    exit_code = 75
