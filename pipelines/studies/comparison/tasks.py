"""Runs tasks in worker processes, each into a directory of its own; what is finished is not repeated."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from features.errors import MalTfError
from pipelines.core import manifest
from pipelines.core.stage_runner import run_stage

log = logging.getLogger("mal_tf.benchmark")


@dataclasses.dataclass(frozen=True)
class Task:
    """Something to do once.

    Attributes:
        kind: what, for the directory's name and the log.
        name: which, for the log.
        key: fingerprint of all that the outcome depends on.
        work: a function of a module; called with `arguments` and the directory, returns what JSON can hold.
        arguments: of `work`; what `pickle` can hold.
    """

    kind: str
    name: str
    key: str
    work: Callable[..., Any]
    arguments: tuple

    def directory(self, root: str) -> str:
        """Where it writes."""
        return f"{root}/{self.kind}/{self.key[:16]}"


def finish(tasks: Sequence[Task], root: str, pool: concurrent.futures.Executor) -> list[Any]:
    """Brings tasks to their end; logs each, with how many are left and how long they will take.

    Args:
        tasks: what to do; equal ones are done once.
        root: directory of all tasks.
        pool: does the work.

    Returns:
        What each task's work returned, in the order of `tasks`.

    Raises:
        MalTfError: what the first failing task raised; the finished ones stay finished.
    """
    results = {
        task.key: manifest.read(task.directory(root))["result"]
        for task in tasks
        if manifest.is_finished(task.directory(root), task.key)
    }
    left = list({task.key: task for task in tasks if task.key not in results}.values())
    if results:
        log.info("%s: %d finished before, %d to do", tasks[0].kind, len(results), len(left))
    began = time.monotonic()
    running = {pool.submit(_do, task, root): task for task in left}
    try:
        for number, done in enumerate(concurrent.futures.as_completed(running), 1):
            task = running[done]
            try:
                results[task.key] = done.result()
            except MalTfError as error:
                raise MalTfError(f"{task.kind}, {task.name}: {error}") from error
            spent = time.monotonic() - began
            log.info(
                "%s %d of %d: %s; %.0f s spent, %.0f s left",
                task.kind,
                number,
                len(left),
                task.name,
                spent,
                spent / number * (len(left) - number),
            )
    except BaseException:
        for future in running:
            future.cancel()
        raise
    return [results[task.key] for task in tasks]


def _do(task: Task, root: str) -> Any:
    return run_stage(task.directory(root), task.key, functools.partial(task.work, *task.arguments), task=task.name)


@contextlib.contextmanager
def workers(count: int) -> Iterator[concurrent.futures.Executor]:
    """Processes that share the machine's cores."""
    context = multiprocessing.get_context("spawn")
    threads = max(len(os.sched_getaffinity(0)) // count, 1)
    with concurrent.futures.ProcessPoolExecutor(count, context, _begin, (threads,)) as pool:
        yield pool


def _begin(threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from features.keras2 import tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _end_with_parent() -> None:
    """A killed parent would leave its workers training, into directories that the next run writes to."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)
