"""Table and figure of a grid's results."""

import pytest

from pipelines.core import text_table
from pipelines.core.layout import GROWTH
from pipelines.studies.grid import report


def row(name, gain):
    cells = {
        metric: {"value": 0.6, "difference": gain, "low": gain and gain - 0.01, "high": gain and gain + 0.01}
        for metric in ("auc", "gauc", "log_loss")
    }
    return {
        "primary": "last",
        "row": name,
        "learning_rate": 0.002,
        "metrics": {"pcoc": 0.98},
        "deviation": dict.fromkeys(cells),
        "differences": {"all": {"all": cells}, "caused": {"caused": cells}},
    }


def market(group, name, growth, *rows):
    labels = {"clicks": 5000, "positives": 1300, "growth": growth, "longer_journeys": growth and 0.254}
    comparison = {"name": "Growth", "against": "base", "rows": [row("base", 0.0), *rows]}
    return {"group": group, "name": name, "labels": labels, "comparisons": [comparison], "oracles": {}}


@pytest.fixture
def result():
    markets = [
        market("few", "short", 1.3, row("mal", -0.0042), row("moae", 0.001)),
        market("few", "long", 4.5, row("mal", 0.0461), row("moae", None)),
        market("many", "none", None, row("mal", 0.02), row("moae", None)),
    ]
    return {"name": "grid", "seeds": [1, 2], "bootstrap_samples": 2000, "markets": markets}


def test_each_row_has_its_market_and_its_differences(result):
    (table,) = report.tables(result)
    assert table.columns[:6] == ["market", "train positives", "growth", "journeys of 2+", "model", "rate"]
    assert table.rows[0][:7] == ["few, short", "1,300", "1.30", "25%", "mal", "0.002", "-0.0042 (-0.0142 … +0.0058)"]
    assert table.rows[3][4:7] == ["moae", "0.002", "–"]
    assert table.rows[4][:4] == ["many, none", "1,300", "–", "–"]
    assert "Means over 2 seeds" in text_table.markdown(table)
    assert table.columns[-1] == "Δ AUC of cause"
    nothing = {"auc": {"value": None, "difference": None, "low": None, "high": None}}
    for one in result["markets"]:
        for compared in one["comparisons"][0]["rows"]:
            compared["differences"]["caused"] = {"caused": nothing}
    (table,) = report.tables(result)
    assert table.columns[-1] == "PCOC" and table.rows[0][-1] == "0.98"


def test_the_figure_is_the_same_for_the_same_numbers(result, tmp_path):
    assert report.figure(result, str(tmp_path)) == str(tmp_path / GROWTH)
    first = (tmp_path / GROWTH).read_bytes()
    report.figure(result, str(tmp_path))
    assert (tmp_path / GROWTH).read_bytes() == first
    result["markets"][0]["comparisons"][0]["rows"][1] = row("mal", 0.03)
    report.figure(result, str(tmp_path))
    assert (tmp_path / GROWTH).read_bytes() != first
