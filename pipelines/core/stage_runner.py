"""Runs the stages of a directory; a finished stage runs again only if what it depends on has changed.

A stage is a function that fills the directory that it is given and returns a JSON-able result. Its directory is finished once it
holds `manifest.json`, with the result and a fingerprint of all that it depends on.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

from features.errors import MalTfError
from pipelines.core import files, manifest
from pipelines.core.provenance import CONFIG, FAILED, provenance

log = logging.getLogger("mal_tf.run")

#: Where a stage's finished directory lies while the stage runs again.
PREVIOUS = ".previous"

#: Counts up when a stage's code changes what it makes of the same input.
_VERSION = 1

#: Seconds that a process waits for a stage of the chief's.
LONGEST_WAIT = 24 * 3600

#: Fills a directory; returns its result.
Stage = Callable[[str], Any]


def run_stage(output: str, made_from: str, stage: Stage, /, aside: str = "", **facts: str) -> Any:
    """Runs a stage into a local directory, made fresh, and finishes it with a manifest: the stage's result.

    Args:
        output: the directory.
        made_from: fingerprint of all that the result depends on.
        stage: what to run.
        aside: where the finished directory lies meanwhile, to come back if the stage fails; see `manifest.replaced`. Without
            it, that directory is lost.
        facts: further entries of the manifest.
    """
    with manifest.replaced(output, aside) if aside else contextlib.nullcontext():
        manifest.begin(output, overwrite=True)
        result = stage(output)
        manifest.finish(output, {**facts, "made_from": made_from, "result": result, "files": _listed(output)})
    return result


@dataclasses.dataclass(frozen=True)
class StageRunner:
    """Runs the stages of one directory, each in a directory of the stage's name.

    Attributes:
        directory: of all stages; local (a job's may be elsewhere).
        overwrite: run finished stages again although nothing changed.
        chief: whether this process runs stages; any other waits until the chief has finished them.
        current: stages that this process has brought up to date.
    """

    directory: str
    overwrite: bool = False
    chief: bool = True
    current: set[str] = dataclasses.field(default_factory=set)

    def path(self, *parts: str) -> str:
        """A path in the directory."""
        return "/".join((self.directory.rstrip("/"), *parts))

    @contextlib.contextmanager
    def opened(self, name: str, config: str) -> Iterator[None]:
        """Locks the directory for this process and stores config, revision and versions in it.

        The message of an error that ends it stays in `failed.txt`: finished stages may then be of an earlier config.

        Args:
            name: of the run; a directory that holds another run is refused.
            config: as YAML.

        Raises:
            Busy: another process has it.
            MalTfError: the directory can't be written to, or holds a run of another name.
        """
        if not self.chief:
            yield
            return
        with manifest.lock(self.directory):
            self._check_name(name)
            manifest.recover_all(self.directory, self.path(PREVIOUS))
            files.write_text(self.path(CONFIG), config)
            files.write_text(self.path("run.json"), json.dumps(provenance(), indent=1) + "\n")
            try:
                yield
            except MalTfError as error:
                with contextlib.suppress(MalTfError, OSError):  # Such as a full disk.
                    files.write_text(self.path(FAILED), f"{error}\n")
                raise
            files.delete(self.path(FAILED))

    def _check_name(self, name: str) -> None:
        """Another run's export would be served in this one's place."""
        if not files.exists(path := self.path(CONFIG)):
            return
        try:
            there = yaml.safe_load(files.read_text(path))
        except yaml.YAMLError:  # To be written over.
            return
        other = there.get("name") if isinstance(there, dict) else None
        if other not in (None, name):
            raise MalTfError(
                f"{self.directory} holds run '{other}', and the config is of '{name}'; choose another --output, or remove it "
                "first"
            )

    def run(self, name: str, made_from: Sequence, stage: Stage, everywhere: bool = False) -> str:
        """Brings a stage up to date: its directory.

        Args:
            name: of the stage, and of its directory.
            made_from: JSON-able, all that its result depends on.
            stage: what to run.
            everywhere: whether processes that are not the chief take part in it, rather than wait for it.
        """
        output, key = self.path(name), manifest.fingerprint(name, _VERSION, *made_from)
        if self._is_due(name, key, everywhere):
            with _timed(name):
                if self.chief:
                    run_stage(output, key, stage, self.path(PREVIOUS, name), stage=name)
                else:
                    stage(output)
        return output

    def run_job(self, name: str, made_from: str, job: Callable[[str, str], object]) -> str:
        """Brings up to date a stage whose job makes and finishes its directory itself, as Beam jobs do: its directory.

        Args:
            name: of the stage, and of its directory.
            made_from: the fingerprint that the job writes to its manifest.
            job: called with the directory, and with where the finished one is to lie meanwhile.
        """
        output = self.path(name)
        if self._is_due(name, made_from):
            with _timed(name):
                job(output, self.path(PREVIOUS, name))
        return output

    def _is_due(self, name: str, made_from: str, everywhere: bool = False) -> bool:
        """Whether this process has to run a stage; checked and logged once per process."""
        if name in self.current:
            return False
        output = self.path(name)
        finished = not self.overwrite and manifest.is_finished(output, made_from)
        if not finished and not self.chief and not everywhere:
            _wait(name, output, made_from)
            finished = True
        if finished:
            log.info("%s: finished already, nothing changed", name)
        self.current.add(name)
        return not finished


def _wait(name: str, output: str, made_from: str) -> None:
    """Returns when the chief has finished a stage. A chief that failed, or has another config, is not noticed otherwise."""
    for second in itertools.count():
        if manifest.is_finished(output, made_from):
            return
        if second >= LONGEST_WAIT:
            raise MalTfError(
                f"{name}: expected the chief to finish {output} within {LONGEST_WAIT:,} s; see the chief's log whether it "
                "failed, and start all processes with the same config and flags"
            )
        if second % 60 == 0:
            log.info("%s: waiting for the chief to finish %s", name, output)
        time.sleep(1)


def _listed(directory: str) -> list[dict]:
    """Files of a stage with their sizes, but for the mark that `manifest.finish` removes."""
    paths = (path for path in sorted(pathlib.Path(directory).rglob("*")) if path.is_file())
    listed = [{"path": str(path.relative_to(directory)), "bytes": path.stat().st_size} for path in paths]
    return [entry for entry in listed if entry["path"] != manifest.MARK]


@contextlib.contextmanager
def _timed(name: str) -> Iterator[None]:
    """Logs when a stage starts and how long it took."""
    log.info("%s: started", name)
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        # TensorFlow's writers raise errors of its own for a full disk; a stage may well not have imported it.
        if isinstance(error, OSError) or type(error).__module__.startswith("tensorflow."):
            raise MalTfError(f"{name}: {error}") from error
        raise
    log.info("%s: done in %.1f s", name, time.monotonic() - began)
