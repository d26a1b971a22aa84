import pytest

from pipelines.report import text
from pipelines.report.sections import data, journeys, labels, training
from tests.pipelines.report import runs


def test_losses_between_points_are_drawn_from_means_up_to_them():
    steps, means = training._between([(1, 0.8), (2, 0.6), (4, 0.4)])
    assert steps == [1, 2, 4]
    assert means == pytest.approx([0.8, 0.4, 0.2])  # (2 · 0.6 − 0.8) / 1, (4 · 0.4 − 2 · 0.6) / 2


def test_pcoc_is_drawn_over_stretches_with_enough_labels():
    sums = {step: 10.0 * step for step in range(1, 11)}
    scalars = {"primary_predictions": {step: 1.5 * x for step, x in sums.items()}, "primary_labels": sums}
    # 100 labels in all, 25 at least in each stretch: 30, 30, 30 and the rest.
    assert training._stretches(scalars) == [(3, 1.5, 30.0), (6, 1.5, 30.0), (9, 1.5, 30.0), (10, 1.5, 10.0)]
    assert training._stretches({"loss_last": {1: 0.5}}) == []


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (80, 40, 100, 0.8),
        (50, 40, 100, 0.8),
        (120, 40, 100, 1.2),
        (20, 40, None, 2.0),
        (5, 5, 5, None),
        (3, None, None, None),
    ],
)
def test_how_much_of_its_limit_a_measurement_used(value, low, high, expected):
    assert data._share({"value": value, "low": low, "high": high}) == expected


def test_numbers_are_written_as_people_read_them():
    assert text.difference(-0.00125) == "−0.0013"
    assert text.interval({"low": -0.1, "high": None}) == text.number(None) == text.general(float("nan")) == "–"
    assert (text.integer(12345.0), text.general(12345.6), text.general(0.00123456)) == ("12,345", "12,346", "0.001235")
    assert (text.size(500), text.size(2048), text.size(3 * 2**30)) == ("500 B", "2.0 KiB", "3.0 GiB")
    assert (text.metric("pcoc", 0.98765), text.metric("auc", 0.98765)) == ("0.988", "0.9877")


def test_context_touches_are_counted_and_drawn_beside_clicks():
    report = runs.labels() | {"context_view": {"read": 50, "kept": 48, "exact_repeats": 2}}
    report["days"]["context_view"] = {"2023-11-15": 48}
    credit = dict.fromkeys(runs.MECHANISMS, 30.0)
    report["touches"] = {kind: {"touches": n, "credit": credit} for kind, n in (("click", 900), ("view", 48))}
    report["conversions"]["context_only"] = 4
    tables = {part.table.title: part.table for part in labels.parts(_Stage(report)) if getattr(part, "table", None)}
    assert tables["Rows in, rows out"].columns == ["rows", "clicks", "conversions", "context_view"]
    assert ["of these, with context touches alone", "–", "4", "–"] in tables["Rows in, rows out"].rows
    assert tables["Conversions by length of the journey"].columns[0] == "touches"
    (facts,) = (table for title, table in tables.items() if title.startswith("Does multi-attribution learning pay?"))
    assert facts.rows[2][0] == "growth of the positives, linear to last"
    assert tables["Touches and their credit"].rows[1] == ["view", "48", *["30.0"] * len(runs.MECHANISMS)]

    chosen = runs.journeys()
    (one,) = chosen["journeys"]
    at = {"timestamp": "2023-11-15T01:30:00+00:00", "touchpoint": "top"}
    one["context"] = [at | {"kind": "view", "touch_id": "v7"}]
    one["conversions"][0]["context_credit"] = {name: [0.25] for name in runs.MECHANISMS}
    (part,) = journeys.parts(_Stage(chosen))
    assert ["view v7", at["timestamp"], "top", *["0.250"] * len(runs.MECHANISMS), "–", "–"] in part.table.rows
    assert "Squares are context touches, without a label: view." in part.caption


class _Stage:
    """Files of a run, all of the same content."""

    config: dict = {}

    def __init__(self, content):
        self._content = content

    def stage_json(self, stage, name):
        return self._content
