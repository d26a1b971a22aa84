"""The comparison with another commit takes medians, of runs in turn."""

import pathlib

from benchmarks import against, golden_trees
from benchmarks.measure import Measured


def test_medians_and_the_cost_of_further_clicks(tmp_path, monkeypatch):
    old, new = (golden_trees.Tree(name, tmp_path, "", False) for name in ("0123456789ab", "working tree"))
    monkeypatch.setattr(golden_trees, "commit_of", lambda *_: "0123456789abcdef")
    monkeypatch.setattr(golden_trees, "check_out", lambda *_: old)
    monkeypatch.setattr(golden_trees, "copy", lambda *_: new)
    cpu = {(old, 1000): [5, 1, 3], (new, 1000): [2, 2, 9], (old, 3000): [7, 7, 7], (new, 3000): [4, 3, 5]}
    order = []

    def run(tree, logs, _):
        order.append(tree)
        seconds = cpu[tree, int(logs.name)].pop(0)
        return Measured(2.0 * seconds, seconds, 0, 0)

    monkeypatch.setattr(against, "_run", run)
    logs = {clicks: pathlib.Path(str(clicks)) for clicks in (3000, 1000)}
    table = against.compare("HEAD~1", logs, tmp_path, lambda _: None)
    assert order == [old, new] * 6
    assert [row[:4] for row in table.rows] == [
        ["1,000", "3.00", "2.00", "1.50"],
        ["3,000", "7.00", "4.00", "1.75"],
        ["µs per further click", "2,000.00", "1,000.00", "2.00"],
    ]
