"""Measures a command on Linux (seconds, memory of its processes, bytes written), and the disk's speed."""

import contextlib
import dataclasses
import os
import pathlib
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from features.errors import MalTfError

ROOT = pathlib.Path(__file__).parent.parent
_PROC = pathlib.Path("/proc")
_BLOCK = 8 << 20

#: Least number of seconds between two samples of memory. Sampling takes at most 1 / `_SHARE` of a core's time.
_INTERVAL = 0.1
_SHARE = 50


@dataclasses.dataclass(frozen=True)
class Measured:
    """Time, memory and written bytes of a command.

    Attributes:
        seconds: wall-clock time.
        cpu_seconds: CPU time of all its processes.
        peak: largest sum of its processes' memory, in bytes.
        written: bytes that its processes wrote to disk, as counted by the kernel.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    written: int


def memory_kind() -> str:
    """Return the kind of memory that is summed over processes, `PSS` or `RSS`.

    PSS counts a page that n processes share as 1/n in each, so that the sum is right. RSS, used if the kernel has no PSS,
    counts it n times.

    Raises:
        MalTfError: the system has no /proc.
    """
    if not (_PROC / "self" / "statm").exists():
        raise MalTfError("memory is measured with /proc, which this system does not have; run the benchmark on Linux")
    return "PSS" if (_PROC / "self" / "smaps_rollup").exists() else "RSS"


def run(
    command: Sequence[str], log: pathlib.Path, watch: Callable[[float, int], object] = lambda seconds, memory: None
) -> Measured:
    """Run a command in the repository's root, in a new session, and sample all processes of the session.

    Args:
        command: program and arguments.
        log: file for its output.
        watch: called with the seconds passed and the memory in use, in bytes, after each sample.

    Raises:
        MalTfError: the command failed; the error contains the end of its output.
    """
    kind = memory_kind()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    peak, written = 0, {}
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
    try:
        cost = 0.0
        while _runs(process, max(_INTERVAL, _SHARE * cost)):
            sampled = time.thread_time()
            members = _session(process.pid)
            memory = sum(_memory(pid, kind) for pid in members)
            written |= {pid: _written(pid) for pid in members}
            peak, cost = max(peak, memory), time.thread_time() - sampled
            watch(time.monotonic() - began, memory)
    finally:
        for pid in _session(process.pid):  # There is none, unless the command or this process was interrupted.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        end = log.read_text(errors="replace")[-3000:].strip()
        raise MalTfError(f"{' '.join(command)}\nended with {process.returncode}; the end of its output:\n{end}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(seconds, cpu, peak, sum(written.values()))


def _runs(process: subprocess.Popen, seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _session(leader: int) -> list[int]:
    members = []
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            # The name in parentheses may contain spaces; the session is the fourth field after it.
            fields = _read(int(entry), "stat").rpartition(")")[2].split()
            if len(fields) > 3 and int(fields[3]) == leader and fields[0] != "Z":
                members.append(int(entry))
    return members


def _memory(pid: int, kind: str) -> int:
    if kind == "RSS":
        return int((_read(pid, "statm").split() or [0, 0])[1]) * os.sysconf("SC_PAGE_SIZE")
    return _field(_read(pid, "smaps_rollup"), "Pss:") * 1024


def _written(pid: int) -> int:
    text = _read(pid, "io")
    return max(_field(text, "write_bytes:") - _field(text, "cancelled_write_bytes:"), 0)


def _field(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)


def _read(pid: int, name: str) -> str:
    """Read a file of a process in /proc; empty if the process has ended."""
    try:
        return (_PROC / str(pid) / name).read_text()
    except OSError:
        return ""


def disk_seconds(folder: pathlib.Path, written: int, read: int) -> tuple[float, float]:
    """Return the seconds of a sequential write of `written` bytes with fsync, and of a read of `read` bytes from the disk."""
    path, block = folder / "disk.probe", os.urandom(_BLOCK)
    try:
        with open(path, "wb", buffering=0) as file:
            began = time.monotonic()
            _fill(file, block, written)
            write_seconds = time.monotonic() - began
            _fill(file, block, read - written)
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            began, left = time.monotonic(), read
            while left > 0:
                left -= len(file.read(min(_BLOCK, left)))
            return write_seconds, time.monotonic() - began
    finally:
        path.unlink(missing_ok=True)


def _fill(file, block: bytes, size: int) -> None:
    for start in range(0, size, _BLOCK):
        file.write(block[: min(_BLOCK, size - start)])
    os.fsync(file.fileno())
