"""Reads a run's directory for the report: its existing files, and those of finished stages only."""

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
        MalTfError: the directory holds no run.
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
        """The run's name: the config's, or the comparison's own; with the day for a span of a retraining."""
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
            config = yaml.safe_load(self.text("config.yaml"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise MalTfError(f"{self.directory}/config.yaml can't be read: {error}; run it again") from error
        if not isinstance(config, dict):
            raise MalTfError(
                f"{self.directory}/config.yaml: expected the config of a run, found {config!r}; run it again"
            )
        return config

    @property
    def plan(self) -> dict[str, Any] | None:
        """Days of a span of a retraining; None for other runs."""
        return self.json("plan.json") if self.has("plan.json") else None

    def has(self, path: str) -> bool:
        """Whether a file exists."""
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
        """Content of a JSON file.

        Raises:
            ValueError: it is none.
        """
        try:
            return json.loads(self.text(path))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error

    def stage_json(self, stage: str, file: str) -> Any | None:
        """Content of a stage's JSON file; None if the stage did not finish, or has no such file."""
        path = f"{stage}/{file}"
        return self.json(path) if self.finished(stage) and self.has(path) else None

    def result(self, stage: str) -> Any | None:
        """A finished stage's result, from its manifest; None if it did not finish."""
        manifest = self.stage_json(stage, "manifest.json")
        return manifest and manifest.get("result")

    def stages_of(self, folder: str) -> list[str]:
        """Names of the finished stages in a folder, such as the models of `train`, the served one first."""
        served = self.config.get("model", {}).get("name")
        names = sorted(path.parent.name for path in self.directory.glob(f"{folder}/*/manifest.json"))
        return sorted(names, key=lambda name: name != served)

    def listed(self, pattern: str) -> list[str]:
        """Files that match a glob, relative to the run's directory, in order."""
        paths = (path for path in self.directory.glob(pattern) if path.is_file())
        return sorted(path.relative_to(self.directory).as_posix() for path in paths)
