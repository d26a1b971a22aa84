"""What must hold after every run of a schedule: what serves is the last good model, and the history says what happened."""

import filecmp
import hashlib
import pathlib

from features.keras2 import tf
from pipelines.retrain import serving
from pipelines.retrain.config import RetrainConfig
from pipelines.retrain.history import open_history
from pipelines.retrain.history_records import Run
from pipelines.retrain.planning import SPANS

#: The model that is retrained: the quickest one.
MODEL = "base"


class Watch:
    """Remembers what was pushed, and holds against it what is there.

    Attributes:
        config: of the schedule.
        pushed: digest of each version that was pushed and still has to be there, by number.
        span: that the newest of them is of; empty before the first.
    """

    def __init__(self, config: RetrainConfig):
        self.config, self.pushed, self.span = config, {}, ""
        self.directory = pathlib.Path(config.root, serving.SERVING)
        self._loaded = set()

    def check(self, pushed: str = "") -> str:
        """Checks the directory that TensorFlow Serving watches: what serves, in words.

        Args:
            pushed: span whose model must be the newest version after the run before; none: all is as it was.

        Raises:
            AssertionError: a version too many, too few, changed, not loadable or not the export of its span.
        """
        found = {int(path.name): path for path in self.directory.glob("*") if path.name.isdigit()}
        new = found.keys() - self.pushed.keys()
        if pushed:
            number = max(self.pushed, default=0) + 1
            assert new == {number}, f"expected the new version {number}, found {sorted(new)}"
            self._is_export_of(pushed, found[number])
            self.pushed[number], self.span = digest(found[number]), pushed
            kept = sorted(self.pushed)[-self.config.keep_versions :]
            self.pushed = {number: self.pushed[number] for number in kept}
        assert {number: digest(path) for number, path in found.items()} == self.pushed
        current = serving.current(str(self.directory))
        assert (current.number if current else None) == max(self.pushed, default=None)
        if current is None:
            return "nothing"
        assert current.lineage["span"] == self.span, current.lineage
        if self.pushed[current.number] not in self._loaded:
            assert "serving_default" in tf.saved_model.load(current.path).signatures
            self._loaded.add(self.pushed[current.number])
        return f"{current.number}, of {current.lineage['span']}"

    def runs(self) -> list[Run]:
        """What the history says, the oldest run first; none before there is a history."""
        if not pathlib.Path(self.config.root, "metadata.sqlite").exists():
            return []
        return open_history(self.config.metadata, self.config.root, create=False).runs()

    def _is_export_of(self, span: str, version: pathlib.Path) -> None:
        exports = pathlib.Path(self.config.root, SPANS, span, "serving", MODEL)
        export = max((path for path in exports.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        names = _files(export)
        assert _files(version) == sorted([*names, serving.LINEAGE]), f"{version} has other files than {export}"
        same, *_ = filecmp.cmpfiles(export, version, names, shallow=False)
        assert sorted(same) == names, f"{version} has other bytes than {export}"


def digest(directory: pathlib.Path) -> str:
    """Hash of the names and bytes of all files of a directory."""
    made = hashlib.sha256()
    for name in _files(directory):
        content = (directory / name).read_bytes()
        made.update(f"{name}\0{len(content)}\0".encode() + content)
    return made.hexdigest()


def described(run: Run) -> str:
    """A run's outcome and the first reason."""
    return " – ".join([run.outcome, *(reason.strip().splitlines()[0] for reason in run.reasons[:1])])


def _files(directory: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
