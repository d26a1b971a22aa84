"""Running the stages of a directory. A finished stage runs again only if its inputs have changed.

A stage is a function that fills a given directory and returns a JSON-serializable result. The directory is finished once it holds
`manifest.json`, with the result and a fingerprint of everything that the result depends on.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import pathlib
import shutil
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import yaml

from features.errors import MalTfError
from pipelines.core import files, locks, manifest, outdated
from pipelines.core.layout import CONFIG, FAILED, RUN, STAGES
from pipelines.core.mirror import Mirror
from pipelines.core.provenance import provenance

log = logging.getLogger("mal_tf.run")

#: Directory that holds a stage's previous finished output while the stage runs again.
PREVIOUS = ".previous"

#: Incremented when a change of code makes a stage's output differ for the same input.
_VERSION = 1

#: Longest time, in seconds, that a process waits for the chief to finish a stage.
LONGEST_WAIT = 24 * 3600

#: A function that fills a directory and returns a JSON-serializable result.
Stage = Callable[[str], Any]


def run_stage(output: str, made_from: str, stage: Stage, /, backup: str = "", **entries: Any) -> Any:
    """Runs a stage in an emptied directory, writes its manifest, and returns its result.

    Args:
        output: the directory; on an object store, a new generation in it is written.
        made_from: fingerprint of everything that the result depends on.
        stage: function to run.
        backup: path that holds the previous finished directory during the run and from which it is restored on failure; see
            `manifest.replaced`. If empty, the previous directory is deleted.
        entries: further entries of the manifest.
    """
    with manifest.replaced(output, backup) if backup else contextlib.nullcontext():
        place = manifest.new_place(output)
        manifest.begin(place, overwrite=True)
        result = stage(place)
        manifest.finish(place, {**entries, "made_from": made_from, "result": result, "files": _file_entries(place)})
    return result


@dataclasses.dataclass(frozen=True)
class StageRunner:
    """Runs the stages of a directory, each in a subdirectory named after it.

    Attributes:
        directory: local parent directory of all stages.
        overwrite: whether finished stages run again although their inputs have not changed.
        chief: whether this process runs stages; other processes wait until the chief has finished them.
        current: names of the stages that this process has already brought up to date.
        mirror: the directory on an object store whose local copy `directory` is, if any.
    """

    directory: str
    overwrite: bool = False
    chief: bool = True
    current: set[str] = dataclasses.field(default_factory=set)
    mirror: Mirror | None = None

    def path(self, *parts: str) -> str:
        """Joins a path to the directory."""
        return "/".join((self.directory.rstrip("/"), *parts))

    def shown(self, path: str) -> str:
        """The path, or its place on the object store, for messages."""
        return self.mirror.there(path) if self.mirror else path

    @contextlib.contextmanager
    def opened(self, name: str, config: str) -> Iterator[None]:
        """Locks the directory for this process and stores the config, the git revision and package versions in it.

        If an error ends the context, its message stays in `failed.txt`; finished stages may then be of an earlier config.

        Args:
            name: name of the run; a directory that holds another run is refused.
            config: the config as YAML.

        Raises:
            Busy: another process holds the lock.
            MalTfError: the directory can't be written to, or holds a run of another name.
        """
        if not self.chief:
            yield
            return
        with locks.lock(self.directory):
            if self.mirror:
                self.mirror.receive_files((CONFIG, RUN, STAGES))
            self._check_name(name)
            manifest.recover_all(self.directory, self.path(PREVIOUS))
            files.write_text(self.path(RUN), json.dumps(provenance(), indent=1) + "\n")
            files.write_text(self.path(CONFIG), config)
            self._publish_files(RUN, CONFIG)  # Before any work, so that a store that can't be written to is noticed.
            try:
                yield
            except MalTfError as error:
                with contextlib.suppress(MalTfError, OSError):  # Such as a full disk.
                    files.write_text(self.path(FAILED), f"{error}\n")
                    self._publish_files(FAILED)
                raise
            files.delete(self.path(FAILED))
            self._publish_files(FAILED)

    @contextlib.contextmanager
    def publishing(self, *names: str) -> Iterator[None]:
        """Copies files to the object store, if there is one, when the block ends, also by an error."""

        def publish() -> None:
            if self.mirror:
                self.mirror.publish_files([name for name in names if files.exists(self.path(name))])

        try:
            yield
        except MalTfError:
            with contextlib.suppress(MalTfError):
                publish()
            raise
        publish()

    def _publish_files(self, *names: str) -> None:
        if self.mirror:
            self.mirror.publish_files(names)

    def _check_name(self, name: str) -> None:
        """Refuses a directory with a config of the user's, or with another run, whose export would be served in place of ours."""
        if not files.exists(path := self.path(CONFIG)):
            return
        if not files.exists(self.path(RUN)):
            raise MalTfError(
                f"{self.shown(path)} is not of a run, and would be overwritten by the resolved config; choose another --output"
            )
        try:
            previous = yaml.safe_load(files.read_text(path))
        except yaml.YAMLError:  # It is about to be overwritten.
            return
        other = previous.get("name") if isinstance(previous, dict) else None
        if other not in (None, name):
            raise MalTfError(
                f"{self.shown(self.directory)} holds run '{other}', but the config is named '{name}'; choose another --output, "
                "or remove the directory first"
            )

    def run(self, name: str, made_from: Sequence, stage: Stage, everywhere: bool = False, there: bool = False) -> str:
        """Brings a stage up to date and returns its directory, which is local.

        Args:
            name: name of the stage and of its directory.
            made_from: JSON-serializable values that its result depends on.
            stage: function to run.
            everywhere: whether processes other than the chief take part in the stage instead of waiting for it.
            there: whether it writes to the object store itself, if there is one, as remote workers do.
        """
        output, key = self.path(name), manifest.fingerprint(name, _VERSION, *made_from)
        mirror = None if name in self.current else self.mirror
        if mirror and not self.overwrite:
            mirror.receive(name, key)
        after = self._stages_in(made_from)
        if self._is_due(name, key, everywhere, after):
            with _timed(name), self._locked(name):
                if self.chief:
                    entries = {"stage": name} | ({manifest.AFTER: after} if after else {})
                    if mirror and there:
                        run_stage(f"{mirror.remote}/{name}", key, stage, "", **entries)
                        mirror.receive(name, key)
                    else:
                        run_stage(output, key, stage, self.path(PREVIOUS, name), **entries)
                else:
                    stage(output)
            self._confirm(name)
        if mirror:
            mirror.publish(name)
        return output

    def _stages_in(self, made_from: Sequence) -> dict[str, str]:
        """The digests of the stages, by name, whose fingerprints are in what another stage is made from."""
        text, found = json.dumps(made_from, default=str), {}
        for name in sorted(self.current):
            content = manifest.content(self.path(name)) or {}
            if (made := content.get("made_from")) and made in text:
                found[name] = manifest.digest(content)
        return found

    def _confirm(self, name: str) -> None:
        if self.chief and files.is_local(self.directory):
            outdated.confirm(self.directory, name)
            self._publish_files(STAGES)

    def run_job(self, name: str, made_from: str, job: Callable[[str, str], object], here: Collection[str] = ()) -> str:
        """Brings up to date a stage whose job writes its own manifest, as Beam jobs do, and returns its directory.

        It is on the object store, if there is one, where the job writes it.

        Args:
            name: name of the stage and of its directory.
            made_from: the fingerprint that the job writes to its manifest.
            job: function called with the directory and with the path for a backup of the previous one.
            here: the files that the local copy gets, beside the manifest, of a directory on an object store.
        """
        output = f"{self.mirror.remote}/{name}" if self.mirror else self.path(name)
        if self.mirror and name not in self.current:
            self.mirror.receive(name, made_from, here)
        if self._is_due(name, made_from, output=output):
            with _timed(name), self._locked(name):
                job(output, "" if self.mirror else self.path(PREVIOUS, name))
            if self.mirror is None or self.mirror.receive(name, made_from, here):
                self._confirm(name)
            else:  # It was only submitted: what is here is of an earlier one.
                shutil.rmtree(self.path(name), ignore_errors=True)
        return output

    def _locked(self, name: str) -> contextlib.AbstractContextManager:
        """Locks the directory of a stage if a link leads out of this directory, whose lock covers all that is in it."""
        output = self.path(name)
        inside = not files.is_local(output) or files.is_within(output, self.directory)
        return contextlib.nullcontext() if inside or not self.chief else locks.lock(output)

    def _is_due(
        self,
        name: str,
        made_from: str,
        everywhere: bool = False,
        after: Mapping[str, str] | None = None,
        output: str = "",
    ) -> bool:
        """Whether this process has to run a stage. Checked and logged once per process.

        Args:
            name: name of the stage.
            made_from: fingerprint of its inputs.
            everywhere: see `run`.
            after: digests of the stages that it is made from; one that was overwritten since makes it due.
            output: its directory; by default that of its name.
        """
        if name in self.current:
            return False
        output = output or self.path(name)
        finished = not self.overwrite and manifest.is_finished(output, made_from)
        if finished and after:
            recorded = manifest.read(output).get(manifest.AFTER, {})
            finished = all(recorded.get(stage, digest) == digest for stage, digest in after.items())
        if not finished and not self.chief and not everywhere:
            _wait_for_chief(name, output, made_from)
            finished = True
        if finished:
            log.info("%s: already finished, nothing changed", name)
            self._confirm(name)
        self.current.add(name)
        return not finished


def _wait_for_chief(name: str, output: str, made_from: str) -> None:
    """Waits until the chief has finished a stage. If the chief failed or has another config, only the time limit ends it."""
    for second in itertools.count():
        if manifest.is_finished(output, made_from):
            return
        if second >= LONGEST_WAIT:
            raise MalTfError(
                f"{name}: expected the chief to finish {output} within {LONGEST_WAIT:,} s; check in the chief's log whether it "
                "failed, and start all processes with the same config and flags"
            )
        if second % 60 == 0:
            log.info("%s: waiting for the chief to finish %s", name, output)
        time.sleep(1)


def _file_entries(directory: str) -> list[dict]:
    """Lists the files of a stage, except for the mark that `manifest.finish` removes, and a lock."""
    if files.is_local(directory):
        found = [path.relative_to(directory) for path in sorted(pathlib.Path(directory).rglob("*")) if path.is_file()]
        paths = list(map(str, found))
    else:
        paths = sorted(files.listing(directory))
    return manifest.describe(directory, [path for path in paths if path not in (manifest.MARK, locks.LOCK)])


@contextlib.contextmanager
def _timed(name: str) -> Iterator[None]:
    """Logs when a stage starts and how long it took."""
    log.info("%s: started", name)
    began = time.monotonic()
    try:
        yield
    except SystemExit as error:  # Otherwise a run would end as if it were done.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise MalTfError(
            f"{name}: {frame.filename}, line {frame.lineno}: asked to exit with {error.code!r}; correct it"
        ) from error
    except Exception as error:
        # TensorFlow's writers raise errors of its own for a full disk; a stage may well not have imported it.
        if isinstance(error, OSError) or type(error).__module__.startswith("tensorflow."):
            raise MalTfError(f"{name}: {error}") from error
        raise
    log.info("%s: done in %.1f s", name, time.monotonic() - began)
