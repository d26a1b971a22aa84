"""Running tasks in worker processes, each with a directory of its own; finished tasks are not repeated."""

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
    """A unit of work that is done once.

    Attributes:
        kind: kind of task, for the name of the directory and the log.
        name: name of the task, for the log.
        key: fingerprint of everything that the result depends on.
        work: module-level function called with `arguments` and the directory, which returns a JSON-serializable result.
        arguments: picklable arguments of `work`.
    """

    kind: str
    name: str
    key: str
    work: Callable[..., Any]
    arguments: tuple

    def directory(self, root: str) -> str:
        """Returns the directory of the task under `root`."""
        return f"{root}/{self.kind}/{self.key[:16]}"


def finish(tasks: Sequence[Task], root: str, pool: concurrent.futures.Executor) -> list[Any]:
    """Runs all unfinished tasks and logs progress with an estimate of the time left.

    Args:
        tasks: tasks to run; those with equal keys run once.
        root: directory of all tasks.
        pool: executor that runs the tasks.

    Returns:
        The result of each task, in the order of `tasks`.

    Raises:
        MalTfError: a task raised it; tasks that have finished stay finished.
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
    running = {pool.submit(_run, task, root): task for task in left}
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


def _run(task: Task, root: str) -> Any:
    return run_stage(task.directory(root), task.key, functools.partial(task.work, *task.arguments), task=task.name)


@contextlib.contextmanager
def workers(count: int) -> Iterator[concurrent.futures.Executor]:
    """Starts a pool of worker processes that share the machine's cores evenly."""
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
    """Exits with the parent process, since orphaned workers would write to directories of the next run."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)
