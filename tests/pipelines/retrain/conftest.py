"""Fixtures of a schedule."""

import json

import pytest
import yaml

from pipelines.retrain.config import load
from tests.support.schedule import ATTRIBUTION, RUN, day


@pytest.fixture
def write(tmp_path):
    def write(**keys):
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
        schedule = {"name": "daily", "run": "run.yaml", "root": "out", "first_day": "2024-01-01", "gates": {}} | keys
        path = tmp_path / "daily.yaml"
        path.write_text(yaml.safe_dump(schedule))
        return str(path)

    return write


@pytest.fixture
def schedule(write, tmp_path):
    """A schedule with logs for January."""
    for name in ("clicks", "conversions"):
        for number in range(1, 32):
            (tmp_path / f"{name}-{day(number)}.parquet").touch()
    overrides = [f"attribution={json.dumps(ATTRIBUTION)}", "sources.clicks.columns.touchpoint=[channel]"]
    return load(write(overrides=overrides))


@pytest.fixture
def loaded(schedule):
    """The schedule, where a module is called that."""
    return schedule
