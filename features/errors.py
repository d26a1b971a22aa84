"""The error a person is meant to read."""


class MalTfError(Exception):
    """Something the user can mend: says what was expected, what was found, where, and what to do.

    The command line prints its message alone; any other exception is a defect and keeps its traceback.
    """
