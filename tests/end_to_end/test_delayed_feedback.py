"""Daily retraining with delayed feedback, on a small market: which days train on which labels, and who judges."""

import datetime
import json
import pathlib
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from mal_tf.training.delayed_feedback import waits
from pipelines.core import manifest
from pipelines.retrain import blessing, feedback, run, serving
from pipelines.retrain.config import load
from pipelines.retrain.schedule import retrain
from pipelines.studies.simulation.config import load as load_market
from pipelines.studies.simulation.run import run as simulate

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
DRIFT = {"l_infinity": None, "new_tokens": None, "jensen_shannon": None, "presence": None}


def day(number):
    return datetime.date(2024, 1, number)


@pytest.fixture
def schedule(tmp_path):
    """On a market with a window of a day; nothing is refused."""
    market = ["users=2000", "clicks=21000", "days=13", "window_hours=24", "daily_logs=true"]
    simulate(load_market(str(EXAMPLES / "simulation" / "market.yaml"), market), str(tmp_path / "logs"))
    keys = yaml.safe_load((EXAMPLES / "retraining" / "market.yaml").read_text()) | {
        "run": "logs/config.yaml",
        "root": str(tmp_path / "root"),
        "immature": "delayed_feedback",
        "checks": {"drift": DRIFT, "rows": [0, 100], "positives": [0, 100]},
        "gates": {"floors": {}, "pcoc": None, "allowed_loss": {}},
        "infra": {"rows": 10, "calls": 5},
    }
    keys["overrides"] += ["model.embedding_dim=4", "model.bottom_units=[8]", "model.tower_units=[4]"]
    keys["overrides"] += ["training.loss=soft", "model.name=base", "model.compare_with=[]"]
    (tmp_path / "daily.yaml").write_text(yaml.safe_dump(keys))
    return load(str(tmp_path / "daily.yaml"))


def rows(directory, split, segment):
    """Clicks of a segment."""
    listed = manifest.read(f"{directory}/labels")["files"]
    return sum(file["rows"] for file in listed if (file["split"], file["segment"]) == (split, segment))


@pytest.mark.slow
def test_each_day_trains_at_its_end_and_when_final_and_users_left_out_judge(schedule, monkeypatch):
    config, of_all = schedule
    spans = {number: f"{config.root}/spans/{day(number)}" for number in range(9, 14)}
    retrain(config, of_all, day(9), first=True)
    for number in (10, 11, 12):
        retrain(config, of_all, day(number))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(run, "judge_candidate", killed)
        retrain(config, of_all, day(13))
    weights = pathlib.Path(spans[13], "train", "base", "model.weights.h5")
    before = weights.read_bytes()
    shutil.rmtree(weights.parent)
    retrain(config, of_all, day(13))
    assert weights.read_bytes() == before

    # The delay is first known when the first span's own day is final: at the end of the 11th.
    versions = serving.versions(f"{config.root}/serving")
    early = [version.lineage.get("fresh", []) for version in versions]
    assert early == [[], [], *([str(day(number)) for number in found] for found in ((11,), (11, 12), (12, 13)))]
    trained = {
        n: json.loads(pathlib.Path(path, "train", "base", "training.json").read_text()) for n, path in spans.items()
    }
    for number in (10, 11, 12, 13):
        final, fresh = rows(spans[number], "train", 0), rows(spans[number], "eval", 1) if number > 10 else 0
        assert final > 1000 and trained[number]["examples"] == final + fresh
    measured = [feedback.read_curve(path) for path in spans.values()]
    credit = [sum(curve.final["last"]) if curve else None for curve in measured]
    assert credit[:2] == [None, None] and 0 < credit[2] < credit[3] < credit[4]
    assert sum(measured[-1].known["last"]) < credit[-1]

    for number in (10, 12, 13):
        scored = pq.read_table(f"{spans[number]}/judge/predictions.parquet").to_pandas()
        assert set(scored["timestamp"] // 86_400) == {(day(number - 1) - datetime.date(1970, 1, 1)).days}
        judges = waits(scored["user_id"].to_numpy(str), 0.2).numpy() if number > 10 else scored["mature"] == 1
        found = blessing.read(f"{spans[number]}/bless").facts
        assert found["all"]["clicks"] == judges.sum() > 100
