import datetime
import errno

import pytest

from features.errors import MalTfError
from pipelines import manifest
from pipelines.retraining import schedule
from tests.pipelines.retraining.test_config import write  # noqa: F401 (a fixture)
from tests.pipelines.retraining.test_planning import schedule as loaded  # noqa: F401 (a fixture)


def test_a_full_disk_is_said_without_a_traceback(loaded, monkeypatch):  # noqa: F811
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manifest, "lock", full)
    with pytest.raises(MalTfError, match="span 2024-01-10: .*No space left on device.*what serves is as it was"):
        schedule.retrain(*loaded, datetime.date(2024, 1, 10), first=True)
