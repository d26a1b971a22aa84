"""Reads the files of a run's directory for the report, those of finished stages only."""

import functools
import json
import pathlib
from typing import Any

import yaml

from features.errors import MalTfError
from pipelines.core import manifest, outdated
from pipelines.core.layout import BENCHMARK, CONFIG, PLAN, RUN

#: Files that every run's directory has.
_RUN_FILES = (RUN, CONFIG)


class RunFiles:
    """The files of one run, or of one span of a retraining.

    Args:
        directory: the run's local directory.

    Attributes:
        directory: the run's local directory.

    Raises:
        MalTfError: the directory holds no run.
    """

    def __init__(self, directory: str):
        self.directory = pathlib.Path(directory)
        if not all(self.has(name) for name in _RUN_FILES):
            raise MalTfError(
                f"{directory}: expected the directory of a run, with {' and '.join(_RUN_FILES)} in it; runs lie in "
                "runs/<name>, those of a retraining in <root>/spans/<day>"
            )

    @property
    def name(self) -> str:
        """The name in the config of the run or of the comparison; for a span of a retraining, with its day."""
        if self.has(BENCHMARK):
            return self.json(BENCHMARK)["name"]
        name, plan = str(self.config.get("name", "")) or self.directory.resolve().name, self.plan
        return f"{name}, {plan['span']}" if plan else name

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as it was stored. It is not a `RunConfig`, as an older run's may lack keys.

        Raises:
            MalTfError: the file holds no config.
        """
        try:
            config = yaml.safe_load(self.text(CONFIG))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise MalTfError(f"{self.directory}/{CONFIG} can't be read: {error}; run it again") from error
        if not isinstance(config, dict):
            raise MalTfError(f"{self.directory}/{CONFIG}: expected the config of a run, found {config!r}; run it again")
        return config

    @property
    def plan(self) -> dict[str, Any] | None:
        """The days of a span of a retraining, from `plan.json`; None for other runs."""
        return self.json(PLAN) if self.has(PLAN) else None

    def has(self, path: str) -> bool:
        """Return whether a file exists."""
        return (self.directory / path).is_file()

    def stored(self, path: str) -> str:
        """Return the path of a file of a stage where the run is stored, in a generation on an object store."""
        for parent in pathlib.PurePosixPath(path).parents[:-1]:
            if generation := (manifest.content(str(self.directory / parent)) or {}).get(manifest.GENERATION):
                return f"{parent}/{generation}/{pathlib.PurePosixPath(path).relative_to(parent)}"
        return path

    @functools.cached_property
    def outdated(self) -> dict[str, str]:
        """Why stages are outdated, by name; see `pipelines.core.outdated`."""
        return outdated.outdated(str(self.directory))

    def finished(self, stage: str) -> bool:
        """Return whether a stage is finished, that is, its directory holds a manifest."""
        return self.has(f"{stage}/manifest.json")

    def text(self, path: str) -> str:
        """Return a file's text."""
        return (self.directory / path).read_text(encoding="utf-8")

    def bytes(self, path: str) -> bytes:
        """Return a file's bytes."""
        return (self.directory / path).read_bytes()

    def json(self, path: str) -> Any:
        """Return the content of a JSON file.

        Raises:
            ValueError: the file is not valid JSON.
        """
        try:
            return json.loads(self.text(path))
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error

    def stage_json(self, stage: str, file: str) -> Any | None:
        """Return the content of a stage's JSON file; None if the stage is not finished or has no such file."""
        path = f"{stage}/{file}"
        return self.json(path) if self.finished(stage) and self.has(path) else None

    def result(self, stage: str) -> Any | None:
        """Return a stage's result from its manifest; None if the stage is not finished."""
        content = self.stage_json(stage, "manifest.json")
        return content and content.get("result")

    def stages_of(self, folder: str) -> list[str]:
        """Return the names of the finished stages in a folder, such as the models in `train`, the served one first."""
        served = self.config.get("model", {}).get("name")
        names = sorted(path.parent.name for path in self.directory.glob(f"{folder}/*/manifest.json"))
        return sorted(names, key=lambda name: name != served)

    def listed(self, pattern: str) -> list[str]:
        """Return the sorted paths of files that match a glob, relative to the run's directory."""
        paths = (path for path in self.directory.glob(pattern) if path.is_file())
        return sorted(path.relative_to(self.directory).as_posix() for path in paths)
