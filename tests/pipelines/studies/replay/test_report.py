import copy
import re

from pipelines.core import text_table
from pipelines.studies.replay import report
from pipelines.studies.replay.run import PAIRED


def test_tables_say_what_the_results_are(finished):
    _, result = finished
    tables = {table.title: table for table in report.tables(result)}
    arms = tables["Every arm plays all users: arms"]
    row = dict(zip(arms.columns, arms.rows[1], strict=True))
    found = result["designs"][PAIRED]["oracle"]["industries"]["all"]
    assert row["arm"] == "oracle"
    assert row["ROI"] == f"{found['roi']['value']:,.3f}"
    low, high = found["gmv"]["lift_low"], found["gmv"]["lift_high"]
    assert row["Δ GMV to constant"] == f"{found['gmv']['lift']:+.1%} ({low:+.1%} … {high:+.1%})"
    by_industry = tables["Each arm plays its own users: orders by industry"]
    assert [row[0] for row in by_industry.rows] == ["feed", "side", "top"]
    assert len(tables) == 9
    assert "A simulation." in "\n".join(map(text_table.markdown, tables.values()))


def test_what_is_not_defined_is_a_dash(finished):
    """An arm without a play that counts, on budgets of 0."""
    result = copy.deepcopy(finished[1])
    result["designs"][PAIRED]["oracle"] |= {"spent": None, "pace": None}
    result["chance"]["covered"]["roi"] = result["chance"]["deviation"]["roi"] = None
    arms, *_, chance = report.tables(result)
    assert dict(zip(arms.columns, arms.rows[1], strict=True))["budget spent"] == "–"
    assert chance.rows[-1] == ["ROI", "–", "–"]


def test_figures_are_drawn_alike_each_time(finished, tmp_path):
    _, result = finished
    for folder in ("a", "b"):
        paths = report.figures(result, str(tmp_path / folder))
    assert [path.rsplit("/", 1)[1] for path in paths] == ["lifts.svg", "industries.svg"]
    for name in ("lifts.svg", "industries.svg"):
        text = (tmp_path / "a" / name).read_text()
        assert text == (tmp_path / "b" / name).read_text()
        assert len(re.findall("<svg", text)) == 1
