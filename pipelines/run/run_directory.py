"""A run's directory: held for one process, its stages made, resumed, waited for."""

import contextlib
import dataclasses
import itertools
import json
import logging
import pathlib
import time
from collections.abc import Callable, Sequence

import yaml

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.training.cluster import ALONE, Cluster
from pipelines.config.run import RunConfig, dump
from pipelines.core import files, manifest
from pipelines.core.provenance import CONFIG, FAILED, provenance
from pipelines.train.credit_delay import Copies

log = logging.getLogger("mal_tf.run")

#: Where what a stage made before lies while it is made anew.
PREVIOUS = ".previous"

#: Counts up when a stage's code changes what it makes of the same input.
_VERSION = 1

#: Seconds that a process waits for a stage of the chief's.
LONGEST_WAIT = 24 * 3600


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """A run's directory and config, and how a stage is brought up to date.

    Attributes:
        config: the run.
        directory: of its outputs; local (the label job alone may write elsewhere).
        flags: Beam's own flags.
        overwrite: replace finished stages although nothing changed.
        cluster: where models are trained. Processes that are not its chief wait for the chief's stages, take their part in
            trainings, and write nothing.
        copies: what trains in the place of the training split, if not that.
        _fresh: stages brought up to date by this process.
    """

    config: RunConfig
    directory: str
    flags: Sequence[str] = ()
    overwrite: bool = False
    cluster: Cluster = ALONE
    copies: Copies | None = None
    _fresh: set[str] = dataclasses.field(default_factory=set)

    def path(self, *parts: str) -> str:
        """A place in the run's directory."""
        return "/".join((self.directory.rstrip("/"), *parts))

    @contextlib.contextmanager
    def opened(self):
        """Holds the run's directory for this process and stores config, revision and versions in it.

        What ends with an error leaves it in `failed.txt`: finished stages may then be of an earlier config.

        Raises:
            MalTfError: the directory can't be written to, or holds a run of another name.
        """
        if not self.cluster.chief:
            yield self
            return
        with manifest.lock(self.directory):
            self._check_name()
            manifest.recover_all(self.directory, self.path(PREVIOUS))
            files.write_text(self.path(CONFIG), dump(self.config))
            files.write_text(self.path("run.json"), json.dumps(provenance(), indent=1) + "\n")
            try:
                yield self
            except MalTfError as error:
                with contextlib.suppress(MalTfError, OSError):  # Such as a full disk.
                    files.write_text(self.path(FAILED), f"{error}\n")
                raise
            files.delete(self.path(FAILED))

    def _check_name(self) -> None:
        """Another run's export would be served in this one's place."""
        if not files.exists(path := self.path(CONFIG)):
            return
        try:
            there = yaml.safe_load(files.read_text(path))
        except yaml.YAMLError:  # To be written over.
            return
        name = there.get("name") if isinstance(there, dict) else None
        if name not in (None, self.config.name):
            raise MalTfError(
                f"{self.directory} holds run '{name}', and the config is of '{self.config.name}'; choose another --output, or "
                "remove it first"
            )

    def stage(self, name: str, made_from: Sequence, make: Callable[[str], dict]) -> str:
        """Brings a stage up to date: its directory.

        Args:
            name: of the stage, and of its directory in the run's.
            made_from: JSON-able, all that its result depends on.
            make: writes to the directory it is given; what it returns stands in the manifest as `result`.
        """
        output, key = self.path(name), manifest.fingerprint(name, _VERSION, *made_from)
        if self._needed(name, output, key):
            with timed(name):
                if not self.cluster.chief:
                    make(output)
                    return output
                with manifest.replaced(output, self.path(PREVIOUS, name)):
                    manifest.begin(output, overwrite=True)
                    result = make(output)
                    manifest.finish(
                        output, {"stage": name, "made_from": key, "result": result, "files": _listed(output)}
                    )
        return output

    def _needed(self, name: str, output: str, made_from: str) -> bool:
        """Whether a stage has to run; said and checked once per process. Who is not the chief has trainings to run alone."""
        if name in self._fresh:
            return False
        finished = not self.overwrite and manifest.is_finished(output, made_from)
        if not finished and not self.cluster.chief and not name.startswith("train/"):
            _wait(name, output, made_from)
            finished = True
        if finished:
            log.info("%s: finished already, nothing changed", name)
        self._fresh.add(name)
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
    """Files of a finished stage, but for the mark that `manifest.finish` takes away."""
    found = (path for path in sorted(pathlib.Path(directory).rglob("*")) if path.is_file())
    listed = [{"path": str(path.relative_to(directory)), "bytes": path.stat().st_size} for path in found]
    return [entry for entry in listed if entry["path"] != manifest.MARK]


@contextlib.contextmanager
def timed(name: str):
    """Logs when a stage starts and how long it took."""
    log.info("%s: started", name)
    began = time.monotonic()
    try:
        yield
    except (OSError, tf.errors.OpError) as error:  # Such as a full disk under TensorFlow's own writers.
        raise MalTfError(f"{name}: {error}") from error
    log.info("%s: done in %.1f s", name, time.monotonic() - began)
