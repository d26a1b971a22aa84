"""The errors a person is meant to read."""


class MalTfError(Exception):
    """Something the user can mend: says what was expected, what was found, where, and what to do.

    The command line prints its message alone; any other exception is a defect and keeps its traceback.

    Attributes:
        exit_code: the command line's.
    """

    exit_code = 1


class BadInput(MalTfError):
    """Files or rows are not what the config says they are. A log is at fault, or the config: who raises it can't know."""


class Busy(MalTfError):
    """Another process is at it; the same command can go on when that has ended. Exit code 75, as `Interrupted`."""

    exit_code = 75


class Interrupted(MalTfError):
    """Stopped from outside; the same command goes on. Exit code 75: `EX_TEMPFAIL`, try again, of sysexits.h."""

    exit_code = 75
