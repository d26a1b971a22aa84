import pathlib

import pytest

from features.errors import MalTfError
from pipelines.retrain.config import context_days, load

EXAMPLE = pathlib.Path(__file__).parents[3] / "examples" / "retraining" / "market.yaml"
DATA_DRIVEN = (
    "sources.clicks.columns.touchpoint=[shop]",
    "attribution.mechanisms=[{name: last, type: last}, {name: mta, type: shao_li}]",
)


def test_paths_are_relative_to_the_file(write, tmp_path):
    config, run = load(write(checks={"serving_log": "asked-{date}.gz"}))
    assert (config.root, config.checks.serving_log) == (f"{tmp_path}/out", (f"{tmp_path}/asked-{{date}}.gz",))
    assert run.sources.clicks.files == (f"{tmp_path}/clicks-{{date}}.parquet",)


def test_a_runs_config_is_told_from_a_schedule(write, tmp_path):
    write()
    with pytest.raises(
        MalTfError, match=r"run.yaml:\n  top level: expected a retraining schedule, .* found a run's config"
    ):
        load(str(tmp_path / "run.yaml"))


def test_context_is_the_longest_window_in_whole_days(write):
    assert context_days(*load(write())) == 4
    assert context_days(*load(write(context_days=9))) == 9


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"checks": {"drift": {"features": {"shp": None}}}}, "checks.drift.features: unknown feature 'shp'"),
        ({"checks": {"skew": {"features": {"shp": {"presence": 0.1}}}}}, "checks.skew.features: unknown feature 'shp'"),
        ({"gates": {"slices": {"by": "colour"}}}, "gates.slices.by: 'colour'"),
        ({"gates": {"floors": {"acu": 0.6}}}, "acu"),
        ({"overrides": ["model.primary=lst"]}, "unknown target 'lst'"),
        ({"root": "gs://bucket/out"}, "expected a local directory"),
        ({"keep": 3}, "keep"),
        ({"immature": "delayed"}, "delayed_feedback"),
        ({"immature": "delayed_feedback"}, "expected training.loss soft, found weighted"),
        (
            {
                "immature": "delayed_feedback",
                "overrides": ["training.loss=soft", *DATA_DRIVEN],
                "fit_age_days": 4,
            },
            "fit_age_days: expected at least 5 with immature: delayed_feedback, found 4",
        ),
        (
            {
                "immature": "delayed_feedback",
                "overrides": ["training.loss=soft", "calibration={method: platt}"],
            },
            "calibration: expected none with immature: delayed_feedback",
        ),
        (
            {
                "immature": "delayed_feedback",
                "overrides": [
                    "training.loss=soft",
                    "attribution.window_hours=12",
                    "attribution.mechanisms=[{name: last, type: last}, {name: first, type: first}]",
                ],
            },
            "expected a window of at least 24 hours, found 12",
        ),
    ],
)
def test_mistakes_are_named(write, keys, message):
    with pytest.raises(MalTfError, match=message):
        load(write(**keys))


def test_the_example_is_valid_but_for_the_market_it_names():
    with pytest.raises(MalTfError, match=r"runs/market/logs/config.yaml: no such config file"):
        load(str(EXAMPLE), ["root=/nowhere"])
