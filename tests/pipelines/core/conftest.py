"""An object store in memory, and an empty cache of what lies there."""

import pytest

from tests.pipelines.core.memory import MemoryFileSystem


@pytest.fixture
def store(tmp_path, monkeypatch):
    MemoryFileSystem.reset()
    monkeypatch.setenv("MAL_TF_CACHE", str(tmp_path / "cache"))
    yield MemoryFileSystem
    MemoryFileSystem.reset()
