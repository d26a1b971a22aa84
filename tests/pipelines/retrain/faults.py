"""Functions run in a process of their own that is really killed, or has a full disk."""

import itertools
import multiprocessing
import resource
import signal
import sys
from collections.abc import Callable, Iterator

#: Python's audit events of operations on files.
_STEPS = ("open", "os.", "shutil.", "fcntl.")


def killed(change: Callable[[], object], prepare: Callable[[], object]) -> Iterator[int]:
    """Calls `change` in new processes, each killed by SIGKILL one file operation later than the one before, until one ends.

    Args:
        change: what is killed.
        prepare: called before each.

    Yields:
        How many operations were done, after each kill.
    """
    for steps in itertools.count():
        prepare()
        code = _in_child(lambda steps=steps: _until(steps, change))
        if code == 0:
            return
        assert code == -signal.SIGKILL
        yield steps


def with_full_disk(change: Callable[[], object], size: int) -> None:
    """Calls `change` in a new process that can't write files larger than `size` bytes; it has to raise nothing."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        change()

    assert _in_child(limited) == 0


def _until(steps: int, change: Callable[[], object]) -> None:
    left = iter(range(steps))
    over = False

    def hook(event, _):
        if not over and event.startswith(_STEPS) and next(left, None) is None:
            signal.raise_signal(signal.SIGKILL)

    sys.addaudithook(hook)
    change()
    over = True


def _in_child(function: Callable[[], object]) -> int:
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    process.join()
    return process.exitcode
