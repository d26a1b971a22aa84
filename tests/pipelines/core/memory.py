"""An object store in memory, `mem://bucket/object`, as strange as gs:// is: no directories, nothing seen before close."""

import io
import time

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

PREFIX = "mem://"


class MemoryFileSystem(FileSystem):
    """Beam finds it by its scheme.

    Attributes:
        objects: bytes and time of change by path.
        created: paths in the order in which they appeared.
        broken: a write to a path that ends so raises; once.
    """

    objects: dict[str, tuple[bytes, float]] = {}
    created: list[str] = []
    broken: str | None = None

    @classmethod
    def reset(cls):
        cls.objects, cls.created, cls.broken = {}, [], None

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        head, _, tail = path.removeprefix(PREFIX).rpartition("/")
        return PREFIX + head, tail

    def mkdirs(self, path):
        raise NotImplementedError("object stores have no directories")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        if dir_or_prefix.startswith("mem://unreachable/"):
            raise ConnectionError("no route to host")
        return [self.metadata(path) for path in sorted(self.objects) if path.startswith(dir_or_prefix)]

    def create(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        if self.broken and path.endswith(self.broken):
            type(self).broken = None
            raise ConnectionError("connection reset by peer")
        return _Upload(path)

    def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        if path not in self.objects:
            raise FileNotFoundError(path)
        return io.BufferedReader(_Download(self.objects[path][0]))

    def exists(self, path):
        return path in self.objects

    def metadata(self, path):
        data, changed = self.objects[path]
        return FileMetadata(path, len(data), changed)

    def size(self, path):
        return self.metadata(path).size_in_bytes

    def last_updated(self, path):
        return self.metadata(path).last_updated_in_seconds

    def delete(self, paths):
        for path in paths:
            for found in [o for o in self.objects if o == path or (path.endswith("/") and o.startswith(path))]:
                del self.objects[found]

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        raise NotImplementedError("object stores copy and delete: nothing of ours may count on it")


class _Upload(io.BytesIO):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def close(self):
        if not self.closed:
            MemoryFileSystem.objects[self._path] = self.getvalue(), time.time()
            MemoryFileSystem.created.append(self._path)
        super().close()


class _Download(io.RawIOBase):
    """No file on disk behind it: no descriptor, no name."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)

    def seek(self, offset, whence=0):
        return self._data.seek(offset, whence)
