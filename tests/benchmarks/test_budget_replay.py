"""Budget replay, the split of budgets and the models' probabilities, worked out by hand on a few paths."""

import numpy as np
import pytest

from benchmarks import criteo_paths
from benchmarks.budget_replay import Outcome, fitted, probabilities, replay, returns, split
from benchmarks.criteo_paths import Paths, read


def paths(*rows):
    """Paths of (user, converted, [(time, channel, cost), …])."""
    touches = [touch for _, _, of_path in rows for touch in of_path]
    channels, channel = np.unique(np.array([name for _, name, _ in touches], object), return_inverse=True)
    return Paths(
        offsets=np.cumsum([0, *(len(of_path) for *_, of_path in rows)]),
        user=np.array([user for user, *_ in rows]),
        converted=np.array([converted for _, converted, _ in rows]),
        time=np.array([time for time, *_ in touches]),
        channel=channel,
        cost=np.array([float(cost) for *_, cost in touches]),
        channels=channels,
    )


#: In time order, a costs 1 (10), 2 (20), 1 (50), 4 (60) and b costs 3 (30), 1 (40), 1 (70).
HELD_OUT = paths(
    (1, True, [(10, "a", 1), (30, "b", 3)]),
    (2, False, [(20, "a", 2), (60, "a", 4)]),
    (3, True, [(40, "b", 1), (50, "a", 1), (70, "b", 1)]),
)


@pytest.mark.parametrize(
    ("budget", "outcome"),
    [
        ((8, 5), Outcome(13, 2, 2)),  # all
        ((4, 5), Outcome(9, 2, 2)),  # not the touch at 60, which converted nothing
        ((3, 5), Outcome(8, 1, 2)),  # path 3 without its touch at 50
        ((4, 4), Outcome(8, 1, 1)),  # path 3 without its last touch
        ((4, 2.9), Outcome(4, 0, 0)),  # b's first touch costs 3: b buys nothing, though the later ones cost 1
        ((0, 0), Outcome(0, 0, 0)),
    ],
)
def test_channels_buy_in_time_order_until_their_budget_is_spent(budget, outcome):
    assert replay(HELD_OUT, np.array(budget, float)) == outcome


@pytest.mark.parametrize(
    ("budget", "weight", "limit", "given"),
    [
        (12, (3, 1), (100, 100), (9, 3)),
        (12, (3, 1), (5, 100), (5, 7)),  # what a can't spend goes to b
        (12, (6, 3, 3), (4, 3, 100), (4, 3, 5)),  # a's rest of 2 is shared by b and c, then b's rest goes to c
        (12, (3, 0), (5, 100), (5, 0)),  # nothing for a channel without return
        (12, (0, 0), (5, 5), (0, 0)),
        (0, (3, 1), (5, 5), (0, 0)),
    ],
)
def test_a_budget_is_split_in_proportion_within_limits(budget, weight, limit, given):
    assert split(budget, np.array(weight, float), np.array(limit, float)) == pytest.approx(given)


def test_returns_are_credit_over_cost():
    training = paths(
        (1, True, [(1, "a", 2), (2, "b", 1)]),
        (2, True, [(3, "a", 1), (4, "a", 1), (5, "b", 1), (6, "free", 0)]),
        (3, False, [(7, "a", 4), (8, "b", 3)]),
    )
    # Costs: a 8, b 5, free 0. Linear credit: a 1/2 + 2/4, b 1/2 + 1/4. First: a 2. Last: b 1, free 1.
    assert returns(fitted("linear", training)[0], training) == pytest.approx([1 / 8, 0.75 / 5, 0])
    assert returns(fitted("first", training)[0], training) == pytest.approx([2 / 8, 0, 0])
    assert returns(fitted("last", training)[0], training) == pytest.approx([0, 1 / 5, 0])


#: Sets {a}: 1 of 2 converted; {b}: 0 of 1; {a, b}: 2 of 3, ended in b 2 of 2, in a 0 of 1.
TRAINING = paths(
    (1, True, [(1, "a", 1)]),
    (2, False, [(1, "a", 1), (2, "a", 1)]),
    (3, False, [(1, "b", 1)]),
    (4, True, [(1, "a", 1), (2, "b", 1)]),
    (5, True, [(1, "a", 1), (2, "b", 1), (3, "b", 1)]),
    (6, False, [(1, "b", 1), (2, "a", 1)]),
)
NEW = paths((7, False, [(1, "a", 1)]), (8, False, [(1, "a", 1), (2, "b", 1)]), (9, False, [(1, "b", 1), (2, "a", 1)]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shapley", (1 / 2, 2 / 3, 2 / 3)),  # the rate of the set
        ("shao_li", (3 / 5, 2 / 3, 2 / 3)),  # of all five paths with a; of the pair
        ("markov_1", (1 / 3, 2 / 3, 1 / 3)),  # a ended three paths, b three
        ("markov_2", (1 / 2, 1, 0)),  # ended in (a) twice, in (a, b) twice, in (b, a) once
    ],
)
def test_what_models_say_of_a_path(name, expected):
    mechanism, fit = fitted(name, TRAINING)
    assert probabilities(mechanism, fit, NEW, TRAINING) == pytest.approx(expected)


def test_a_state_the_chain_never_ended_in_has_the_constant_rate():
    mechanism, fit = fitted("markov_2", TRAINING)
    new = paths((7, False, [(1, "b", 1), (2, "a", 1), (3, "b", 1), (4, "c", 1)]))
    assert probabilities(mechanism, fit, new, TRAINING) == pytest.approx([3 / 6])


def test_rules_are_no_models():
    assert probabilities(*fitted("linear", TRAINING), NEW, TRAINING) is None


def test_attention_says_a_probability_whose_mean_is_right_in_training():
    random = np.random.default_rng(3)
    rows = []
    for user in range(4_000):
        names = random.choice(["a", "b", "c"], random.integers(1, 5))
        times = np.sort(random.integers(0, 86_400, names.size))
        converted = bool(random.random() < (0.6 if "a" in names else 0.1))
        rows.append((user, converted, [(int(t), str(n), 1) for t, n in zip(times, names, strict=True)]))
    training = paths(*rows)
    mechanism, fit = fitted("attention", training)
    found = probabilities(mechanism, fit, training, training)
    assert found.mean() == pytest.approx(training.converted.mean(), abs=1e-6)
    with_a = np.bincount(training.journeys().owner, training.channels[training.channel] == "a") > 0
    assert found[with_a].mean() > 1.5 * found[~with_a].mean()  # 6 times as many converted


CSV = """seq_id,uid,pos,timestamp,campaign,conversion
0,2,0,0,5,1
0,2,1,300000,5,1
0,2,2,300010,6,1
0,2,3,300020,5,1
3,4,0,7,6,0
3,4,1,8,6,0
3,4,2,9,6,0
4,6,0,0,5,1
4,6,1,1,5,1
4,6,2,259201,5,1
"""


@pytest.mark.parametrize(
    ("cut", "offsets", "user"),
    [(False, [0, 4, 7, 10], [2, 4, 6]), (True, [0, 3, 6], [2, 4])],  # user 6 has one touch after a gap of three days
)
def test_converting_paths_can_be_cut_like_the_others(tmp_path, monkeypatch, cut, offsets, user):
    (tmp_path / "log.csv").write_text(CSV)
    monkeypatch.setattr(criteo_paths, "criteo_source", lambda name: tmp_path / "log.csv")
    found = read("any", cut=cut)
    assert found.offsets.tolist() == offsets and found.user.tolist() == user
    assert found.journeys().age[found.offsets[1:] - 1].tolist() == [0] * len(user)
    assert read("any", ("campaign", "pos")).channels[0] == "5:0"
