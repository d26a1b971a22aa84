"""A run's directory, as the report reads it: nothing but the files that lie there, and those of finished stages alone."""

import functools
import json
import pathlib
from typing import Any

import yaml

from features.errors import MalTfError

#: One of these is in the directory of every run.
_OF_A_RUN = ("run.json", "config.yaml")


class RunFiles:
    """Files of one run, or of one span of a retraining.

    Args:
        directory: of the run; local.

    Attributes:
        directory: of the run.

    Raises:
        MalTfError: no run was made there.
    """

    def __init__(self, directory: str):
        self.directory = pathlib.Path(directory)
        if not all(self.has(name) for name in _OF_A_RUN):
            raise MalTfError(
                f"{directory}: expected the directory of a run, with {' and '.join(_OF_A_RUN)} in it; runs lie in "
                "runs/<name>, those of a retraining in <root>/spans/<day>"
            )

    @property
    def name(self) -> str:
        """What the run is called: the config's name, a comparison's own; for a span of a retraining, with its day."""
        if self.has("benchmark.json"):
            return self.json("benchmark.json")["name"]
        name, plan = str(self.config.get("name", "")) or self.directory.resolve().name, self.plan
        return f"{name}, {plan['span']}" if plan else name

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as it was stored: an older run's may lack keys, so it is not read as a `RunConfig`.

        Raises:
            MalTfError: it is no config.
        """
        try:
            found = yaml.safe_load(self.text("config.yaml"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise MalTfError(f"{self.directory}/config.yaml can't be read: {error}; run it again") from error
        if not isinstance(found, dict):
            raise MalTfError(
                f"{self.directory}/config.yaml: expected the config of a run, found {found!r}; run it again"
            )
        return found

    @property
    def plan(self) -> dict[str, Any] | None:
        """Which days a span of a retraining is made of; None for other runs."""
        return self.json("plan.json") if self.has("plan.json") else None

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return (self.directory / path).is_file()

    def finished(self, stage: str) -> bool:
        """Whether a stage is complete: its directory holds a manifest."""
        return self.has(f"{stage}/manifest.json")

    def text(self, path: str) -> str:
        """A file's text."""
        return (self.directory / path).read_text(encoding="utf-8")

    def bytes(self, path: str) -> bytes:
        """A file's bytes."""
        return (self.directory / path).read_bytes()

    def json(self, path: str) -> Any:
        """What a JSON file holds.

        Raises:
            ValueError: it is none.
        """
        try:
            return json.loads(self.text(path))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error

    def of_stage(self, stage: str, file: str) -> Any | None:
        """What a JSON file of a stage holds; None where the stage did not finish, or made no such file."""
        path = f"{stage}/{file}"
        return self.json(path) if self.finished(stage) and self.has(path) else None

    def result(self, stage: str) -> Any | None:
        """What a finished stage said of itself in its manifest; None where it did not finish."""
        found = self.of_stage(stage, "manifest.json")
        return found and found.get("result")

    def stages_of(self, folder: str) -> list[str]:
        """Names of the finished stages in a folder, such as the models of `train`, the served one first."""
        served = self.config.get("model", {}).get("name")
        found = sorted(path.parent.name for path in self.directory.glob(f"{folder}/*/manifest.json"))
        return sorted(found, key=lambda name: name != served)

    def listed(self, pattern: str) -> list[str]:
        """Files that match a glob, relative to the run's directory, in order."""
        found = (path for path in self.directory.glob(pattern) if path.is_file())
        return sorted(path.relative_to(self.directory).as_posix() for path in found)
