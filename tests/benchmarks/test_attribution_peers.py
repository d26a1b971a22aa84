import json

import numpy as np
import pytest

from benchmarks import attribution_peers
from benchmarks.measure import ROOT

#: Totals that other packages give on `attribution_peers.golden()`, with their versions (docs/attribution_peers.md).
PEERS = json.loads((ROOT / "tests" / "golden" / "attribution" / "peers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def own():
    return attribution_peers.ours(attribution_peers.golden())


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: f"{peer['package']} {peer['version']} {peer['mechanism']}")
def test_same_as_the_peer(peer, own):
    mine = own[peer["mechanism"]]
    theirs = {name: peer["totals"].get(name, 0.0) for name in mine}
    assert peer["totals"].keys() <= mine.keys()
    assert mine == pytest.approx(theirs, abs=1e-9)


def test_credit_of_the_golden_journeys_by_hand(own):
    # x > y converts ten times; the touches are two hours and one hour old, so y weighs 2^(1 / 24) times as much as x.
    x, y = own["time_decay"]["x"], own["time_decay"]["y"]
    assert (x + y, y / x) == pytest.approx((10, 2 ** (1 / 24)))
    # 77 journeys convert, 8 of them with direct alone.
    assert own["markov, removal effect"]["direct"] == pytest.approx(8 / 77)
    # c and d occur only in a > b > c > d, which converts ten times.
    assert own["markov, removal effect"]["c"] == own["markov, removal effect"]["d"] == pytest.approx(10 / 77)


def test_recorded_journeys_are_those_that_were_given():
    log = {
        "converting": [{"path": ["a", "b"], "hours": [3.0, 0.5]}, {"path": ["b"], "hours": [1.0]}],
        "other": [{"path": ["a", "a", "b"], "hours": [2.0, 1.0, 0.0]}],
    }
    parts = {name: attribution_peers.as_journeys(rows, ["a", "b"]) for name, rows in log.items()}
    none = parts["other"].take(np.zeros(0, np.int64))
    recorded = attribution_peers.Recorded()
    statistics = [recorded.statistics(none, parts["other"]), recorded.statistics(parts["converting"], none)]
    assert recorded.fit(recorded.merge(statistics)) == log


def test_differences_are_of_shares_and_of_removal_effects():
    own = {"first": {"a": 3.0, "b": 1.0}, "markov, removal effect": {"a": 0.5, "b": 0.25}}
    assert attribution_peers.difference("first", {"a": 0.5, "b": 0.5}, own) == pytest.approx(25)
    assert attribution_peers.difference("markov, removal effect", {"a": 0.5}, own) == pytest.approx(0.25)
    assert attribution_peers.difference("markov, removal effect by default", {"a": 0.4}, own) == pytest.approx(0.25)


def test_every_expectation_is_about_a_package():
    source = (ROOT / "benchmarks" / "peers" / "attribution.py").read_text(encoding="utf-8")
    assert all(f'"{package}"' in source for package in attribution_peers.EXPECTED)
