"""Whether multi-attribution learning may pay, from the label report."""

import re

import pytest

from pipelines.config.evaluation import GrowthConfig
from pipelines.labels.expected_gain import GAIN_FROM_GROWTH, NO_GAIN_UP_TO_GROWTH, expected_gain, table


def gain(positives, primary="last", growth=None, lengths=None):
    mechanisms = {name: {"positives": n} for name, n in positives.items()}
    report = {"splits": {"train": {"clicks": 5000, "mechanisms": mechanisms}}, "path_lengths": lengths or {}}
    return expected_gain(report, primary, growth or GrowthConfig())


@pytest.mark.parametrize(
    ("last", "linear", "verdict"),
    [
        (620, 2844, "possible"),  # The logs of docs/results.md: long journeys, Criteo, KuaiRand, the simulated market.
        (679, 679 * 9, "possible"),
        (1072, 1407, "unlikely"),
        (58846, 102981, "unlikely"),
        (600, 1800, "open"),
        (58846, 58846 * 5, "open"),
    ],
)
def test_the_verdict_is_what_was_measured_on_such_logs(last, linear, verdict):
    found = gain({"first": last, "last": last, "linear": linear})
    assert (found.verdict, found.positives, found.growth) == (verdict, last, linear / last)
    assert f"{linear / last:.2f} times" in found.finding and "docs/when.md" in found.finding
    assert ("mal-tf benchmark" in found.finding) == (verdict != "unlikely")


def test_bounds_belong_to_the_verdict():
    assert gain({"last": 100, "linear": 100 * NO_GAIN_UP_TO_GROWTH}).verdict == "unlikely"
    assert gain({"last": 100, "linear": 100 * GAIN_FROM_GROWTH}).verdict == "possible"


def test_growth_is_that_of_the_primary_target():
    positives = {"first": 100, "last": 100, "linear": 500}
    assert gain(positives, "first").verdict == "open"  # Gains were measured for last click.
    own = gain(positives, "linear")
    assert (own.growth, own.verdict) == (1.0, "unlikely") and "linear is the primary target itself" in own.finding
    other = gain(positives | {"shapley": 480}, growth=GrowthConfig(wider="shapley"))
    assert (other.growth, other.wider, other.verdict) == (4.8, "shapley", "possible")


@pytest.mark.parametrize(
    ("positives", "primary", "reason"),
    [
        ({"last": 10}, "last", r"no mechanism 'linear' \(evaluation.growth.wider\), only last; add it to attribution"),
        ({"last": 10, "linear": 20}, "own", r"no mechanism 'own' \(model.primary\), only last, linear"),
        ({"last": 0, "linear": 0}, "last", "no click of the training split is positive under the primary target last"),
    ],
)
def test_what_makes_an_answer_impossible_is_said(positives, primary, reason):
    found = gain(positives, primary)
    assert (found.verdict, found.growth) == ("open", None)
    assert re.search(reason, found.finding), found.finding
    assert "–" in [value for _, value in table(found).rows]


def test_the_table_has_the_facts_and_the_finding():
    shown = table(gain({"last": 1000, "linear": 1300}, lengths={"1": 700, "2": 200, "3": 100}))
    assert dict(shown.rows) == {
        "clicks": "5,000",
        "positives, last": "1,000",
        "growth of the positives, linear to last": "1.30",
        "conversions after two or more clicks": "30.0%",
    }
    assert shown.note.startswith("Multi-attribution learning is unlikely to pay: ")
