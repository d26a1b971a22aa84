"""A run's directory on an object store, with a local copy that stages work in.

A stage that is finished on the store is fetched when it is needed; one that has run is uploaded whole, as a new generation whose
manifest comes last, so that the store has the earlier stage or the new one. See `pipelines.core.manifest`.
"""

import dataclasses
import os
import pathlib
import posixpath
from collections.abc import Collection, Sequence

from pipelines.core import cache, files, manifest


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A directory on an object store and its local copy.

    Attributes:
        remote: the directory on the store.
        local: directory of the copy.
    """

    remote: str
    local: str

    @classmethod
    def of(cls, remote: str) -> "Mirror":
        """Returns the mirror of a remote directory, whose copy is in the cache; lock it to write."""
        return cls(remote.rstrip("/"), cache.place(remote))

    @classmethod
    def to_read(cls, remote: str) -> "Mirror":
        """Returns a mirror as `of`, with a copy of its own for readers, so that they disturb no process at work in the other."""
        return cls(remote.rstrip("/"), cache.place(f"read:{remote}"))

    def there(self, path: str) -> str:
        """Returns the place on the store of a path in the local copy; other paths unchanged."""
        inside = files.is_local(path) and files.is_within(path, self.local)
        return posixpath.join(self.remote, os.path.relpath(path, self.local)).removesuffix("/.") if inside else path

    def receive_files(self, names: Sequence[str]) -> None:
        """Copies files of no stage from the store; deletes those that it does not have."""
        _copy(names, self.remote, self.local)

    def publish_files(self, names: Sequence[str]) -> None:
        """Copies files of no stage to the store; deletes those that are not here."""
        _copy(names, self.local, self.remote)

    def receive(self, stage: str, made_from: str | None = None, names: Collection[str] | None = None) -> bool:
        """Brings a finished stage here, with what it wrote elsewhere.

        Args:
            stage: name of the stage.
            made_from: the fingerprint that it must have; None for any.
            names: the files to bring; by default all.

        Returns:
            Whether the store has such a stage, complete.
        """
        directory = f"{self.remote}/{stage}"
        listed = manifest.content(directory) or {}
        found = listed.get(manifest.MADE_FROM)
        if found is None or (made_from or found) != found or not manifest.is_finished(directory, found):
            return False
        for version, paths in self._elsewhere(stage, listed).items():
            there = files.remote_listing(f"{self.remote}/{version}")
            if not all(path in there for path in paths):
                return False
            cache.fetch(f"{self.remote}/{version}", {path: there[path] for path in paths}, f"{self.local}/{version}")
        cache.stage(directory, listed, f"{self.local}/{stage}", names)
        return True

    def stages(self) -> list[str]:
        """Returns the names of the finished stages on the store."""
        ending = f"/{manifest.MANIFEST}"
        return sorted(path.removesuffix(ending) for path in files.listing(self.remote) if path.endswith(ending))

    def publish(self, stage: str) -> None:
        """Uploads a stage that is finished here, unless the store has it."""
        content, directory = manifest.read(f"{self.local}/{stage}"), f"{self.remote}/{stage}"
        if manifest.content(directory) == content and manifest.is_finished(directory, content[manifest.MADE_FROM]):
            return
        content.pop(manifest.GENERATION, None)
        for version, paths in self._elsewhere(stage, content).items():
            cache.upload(f"{self.local}/{version}", paths, f"{self.remote}/{version}")
        place = manifest.new_place(directory)
        manifest.begin(place, overwrite=True)
        cache.upload(f"{self.local}/{stage}", [entry["path"] for entry in manifest.entries(content)], place)
        manifest.finish(place, content)
        manifest.write(f"{self.local}/{stage}", manifest.read(directory))

    def reserve_versions(self, folder: str) -> None:
        """Makes an empty local directory for each version on the store, so that the next one gets a number of its own."""
        for number in {path.split("/")[0] for path in files.listing(f"{self.remote}/{folder}")}:
            if number.isdecimal():
                pathlib.Path(self.local, folder, number).mkdir(parents=True, exist_ok=True)

    def _elsewhere(self, stage: str, content: dict) -> dict[str, list[str]]:
        """Paths of the files that a stage wrote outside of its directory, by the version that they are of."""
        versions: dict[str, list[str]] = {}
        for entry in manifest.elsewhere(content):
            model, name, number, *rest = posixpath.normpath(posixpath.join(stage, entry["path"])).split("/")
            versions.setdefault(f"{model}/{name}/{number}", []).append("/".join(rest))
        return versions


def _copy(names: Sequence[str], source: str, target: str) -> None:
    for name in names:
        if files.exists(f"{source}/{name}"):
            files.write_bytes(f"{target}/{name}", files.read_bytes(f"{source}/{name}"))
        else:
            files.delete(f"{target}/{name}")
