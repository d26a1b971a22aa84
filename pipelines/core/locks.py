"""Locks of local directories, by which a single process writes each."""

import contextlib
import fcntl
import os
import pathlib
import stat
from collections.abc import Iterator

from features.errors import Busy, MalTfError
from pipelines.core import files

#: File in a locked directory with the id of the process that holds it, or held it last.
LOCK = ".lock"


@contextlib.contextmanager
def lock(directory: str, alone: bool = False) -> Iterator[None]:
    """Locks a directory, with all that is in it, for this process; the kernel releases the lock when the process ends.

    Directories that contain it can't be locked then, so that a run and a job that writes a stage of it exclude each other,
    while other parts of them stay free. Links are followed.

    Only local directories are locked. On object stores, of two jobs that write to a place, only the one that began last can
    finish; see `pipelines.core.manifest`.

    Args:
        directory: the directory, which is created.
        alone: whether other processes may hold directories that contain it, and take them.

    Raises:
        Busy: another process holds the lock.
        MalTfError: the directory can't be created or written to.
    """
    if not files.is_local(directory):
        yield
        return
    path = pathlib.Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock_file = open(path / LOCK, "a+")  # noqa: SIM115 - closed below
    except OSError as error:
        raise MalTfError(
            f"{directory}: expected a writable directory: {error.strerror or error}; choose another output"
        ) from error
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(lock_file)
        _flock(file.fileno(), fcntl.LOCK_EX, directory, path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        real = path.resolve()
        for parent in () if alone else real.parents:
            stack.enter_context(_locked_itself(parent, fcntl.LOCK_SH, str(parent)))
        stack.enter_context(_locked_itself(real, fcntl.LOCK_EX, f"a directory in {directory}"))
        yield


#: Directories that this process holds, as (device, inode).
_held: set[tuple[int, int]] = set()


@contextlib.contextmanager
def _locked_itself(directory: pathlib.Path, kind: int, name: str) -> Iterator[None]:
    """Locks the directory and not a file in it, which may be anybody's; not again if this process holds it."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(directory, os.O_RDONLY)
        except OSError:  # It may be passed through, but not read.
            yield
            return
        stack.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if (key := (status.st_dev, status.st_ino)) not in _held:
            _flock(descriptor, kind, name, directory)
            if kind == fcntl.LOCK_EX:
                _held.add(key)
                stack.callback(_held.discard, key)
        yield


def _flock(descriptor: int, kind: int, name: str, directory: pathlib.Path) -> None:
    """Takes a lock, unless the file system has none for directories, and says which process holds it otherwise."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy(
            f"{name} is in use by process {_holder(directory)}; wait for it to end or choose another output. The lock ends "
            "with the process that holds it"
        ) from error
    except OSError:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise


def _holder(directory: pathlib.Path) -> str:
    """The process that holds a directory or one in it; `?` if it can't be found."""
    own = str(os.getpid())
    for path in (*directory.rglob(f"*/{LOCK}"), directory / LOCK):
        with contextlib.suppress(OSError), open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if (process := file.read().strip()) not in ("", own):
                    return process
    return own
