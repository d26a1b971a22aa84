"""The command, its files, and the label job on them."""

import hashlib
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from features.errors import MalTfError
from pipelines import cli
from pipelines.config.run import load as load_run
from pipelines.labels import run as labels
from pipelines.studies.simulation import block, run
from pipelines.studies.simulation.compare import compare
from pipelines.studies.simulation.config import load
from tests.support.market import MARKET

TABLES = ("clicks", "conversions", "truth-clicks", "truth-conversions")
GOLDEN_SUMS = {
    "clicks.price": 117295.248885,
    "clicks.picture_similarity": 105.614404,
    "clicks.text_similarity": 96.701726,
    "conversions.value": 150.59,
    "truth-clicks.base_intent": 439.827762,
    "truth-clicks.hazard_per_hour": 3.481597,
    "truth-clicks.carry_over_hours": 12823.0,
    "truth-clicks.expected_credit": 14.508043,
    "truth-clicks.p_caused": 14.02887,
    "truth-clicks.p_conversion": 21.423446,
    "truth-clicks.credit": 11.484088,
    "truth-clicks.credit_any_time": 11.484088,
    "truth-clicks.credit_among_ads": 12.0,
    "truth-conversions.hazard_per_hour": 0.218124,
    "truth-conversions.ads_share": 11.484088,
}
SMALL = ["users=400", "clicks=4000"]


def read(folder, name):
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    paths = [folder / e["path"] for e in entries if e["path"].startswith(f"{name}-0")]
    return pa.concat_tables([pq.read_table(path) for path in paths])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(block, "CLICKS_PER_BLOCK", 500)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    arguments = ["simulate", MARKET, "--output", str(folder), "--set", "users=2000", "--set", "clicks=20000"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert "clicks/s" in result.output and f"labels {folder}/config.yaml" in result.output.replace("\n", "")
    return folder


def test_same_seed_same_bytes(tmp_path, small_blocks):
    for name in ("one", "other"):
        run.run(load(MARKET, SMALL), str(tmp_path / name))
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_a_relative_output_may_have_spaces_and_colons(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run.run(load(MARKET, SMALL), "300 positives/growth: 1.3/logs")
    assert read(tmp_path / "300 positives/growth: 1.3/logs", "clicks").num_rows > 0


def test_rows_do_not_depend_on_how_blocks_are_put_into_files(tmp_path, small_blocks, monkeypatch):
    seen = []
    for name, blocks_per_file in (("one", 1), ("many", 5)):
        monkeypatch.setattr(run, "BLOCKS_PER_FILE", blocks_per_file)
        made = run.run(load(MARKET, SMALL), str(tmp_path / name), advance=seen.append)
        assert {table: read(tmp_path / name, table).num_rows for table in TABLES} == made["rows"] == seen[-1]
    assert len(seen) == 16
    assert len(list((tmp_path / "one").glob("clicks-*"))) == 8 and len(list((tmp_path / "many").glob("clicks-*"))) == 2
    for table in TABLES:
        assert read(tmp_path / "one", table).equals(read(tmp_path / "many", table))


def test_memory_does_not_grow_with_the_market(tmp_path, small_blocks):
    peaks = []
    for blocks in (4, 4, 24):  # The first run also imports what is imported late.
        tracemalloc.start()
        market = load(MARKET, [f"users={50 * blocks}", f"clicks={500 * blocks}"])
        run.run(market, str(tmp_path / "market"), overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def test_golden_market(tmp_path):
    """Changes when what a config and a seed stand for changes: then say so in the changelog."""
    run.run(load(MARKET, ["users=60", "clicks=600"]), str(tmp_path / "market"))
    digest, sums = hashlib.sha256(), {}
    for table in TABLES:
        rows = read(tmp_path / "market", table)
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            kind = column.type
            if pa.types.is_floating(kind):  # The last bits are the processor's own.
                sums[f"{table}.{name}"] = pc.sum(column).as_py()
            elif not pa.types.is_list(kind):
                digest.update(f"{table}.{name}:{column.to_pylist()}\n".encode())
    assert digest.hexdigest() == "6870a73b3f5000090390cc86bbfbf4bfae5a53f6922724c0ac19a89925c7f6ac"
    assert sums == pytest.approx(GOLDEN_SUMS, rel=1e-4)


def test_truth_lies_beside_its_log(market):
    clicks, beside = read(market, "clicks"), read(market, "truth-clicks")
    for name in ("click_id", "industry", "channel"):
        assert clicks[name].equals(beside[name])
    assert len(set(clicks["click_id"].to_pylist())) == clicks.num_rows
    conversions, causes = read(market, "conversions"), read(market, "truth-conversions")
    assert conversions["conversion_id"].equals(causes["conversion_id"])
    by_id = dict(zip(clicks["click_id"].to_pylist(), clicks.to_pylist(), strict=True))
    for conversion, cause in zip(conversions.to_pylist(), causes.to_pylist(), strict=True):
        assert cause["cause_timestamp"] <= conversion["timestamp"]
        if cause["caused_by"] is not None:
            click = by_id[cause["caused_by"]]
            assert (click["user_id"], click["product"]) == (conversion["user_id"], conversion["product"])
            assert click["timestamp"] == cause["cause_timestamp"]
            assert click["advertiser"] == conversion["advertiser"]
    lists = beside["picture_similarities"].to_pylist()
    means = [np.mean(cosines) if cosines else None for cosines in lists]
    assert clicks["picture_similarity"].to_pylist() == pytest.approx(means, abs=1e-5)
    assert max(map(len, lists)) == 20


def test_the_label_job_runs_on_a_market(market, tmp_path):
    output = str(tmp_path / "labels")
    report = labels.run(load_run(str(market / "config.yaml")), output)
    assert report["dead_letters"] == {"clicks": {}, "conversions": {}}
    assert report["clicks"]["read"] == read(market, "clicks").num_rows
    attributed, alone = report["conversions"]["attributed"], report["conversions"]["without_click"]
    assert attributed > 2 * alone > 0
    ratio = report["splits"]["train"]["mechanisms"]["linear"]["ratio"]
    assert 1.2 < ratio < 2.2

    found = compare(str(market), output)
    assert list(found.index) == ["first", "last", "linear", "mta", "nothing"]
    assert found["error"].idxmax() == found["error_among_ads"].idxmax() == "nothing"
    # What users would have bought anyway is credited too, above all to the channel that they click.
    assert (found.loc[["first", "last", "linear", "mta"], "total"] > 1.1).all()
    assert found.loc["last", "retargeting"] > 1.3 * found.loc["last", "search"]


def test_a_market_is_complete_or_absent(tmp_path, small_blocks):
    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(load(MARKET, SMALL), str(tmp_path / "market"), advance=stop)
    assert not (tmp_path / "market" / "manifest.json").exists() and not (tmp_path / "market" / "config.yaml").exists()
    run.run(load(MARKET, SMALL), str(tmp_path / "market"))
    with pytest.raises(MalTfError, match="finished already"):
        run.run(load(MARKET, SMALL), str(tmp_path / "market"))
    with pytest.raises(MalTfError, match="local directory"):
        run.run(load(MARKET, SMALL), "gs://bucket/market")


@pytest.mark.parametrize(
    "override, message",
    [
        ("click=3", "did you mean 'clicks'"),
        ("days=7", "days: 7 days leave no training clicks"),
        ("gap_days=20", "leave no training clicks before a gap of 20 days, 1 days of evaluation"),
        ("industries.1.name=food", "names must differ"),
        ("bots.share_of_users=0", "expected both 0"),
        ("hours=[1, 2]", "hours"),
        ("channels=[{name: a, share: 1, effect: 1, retargets: true}]", "expected at least one that does not retarget"),
    ],
)
def test_bad_configs_are_refused(override, message):
    with pytest.raises(MalTfError, match=message):
        load(MARKET, [override])


def test_the_days_of_a_gap_are_in_no_split(tmp_path):
    changes = [*SMALL, "days=12", "window_hours=72", "gap_days=3"]
    run.run(load(MARKET, changes), str(tmp_path))
    settings = load_run(str(tmp_path / "config.yaml")).labels
    assert settings.eval_from.isoformat() == "2024-01-09T00:00:00+00:00"
    assert [day.isoformat() for day in settings.without_days] == ["2024-01-06", "2024-01-07", "2024-01-08"]
    with pytest.raises(
        MalTfError, match="expected an evaluation split that begins at midnight, found one from day 7.5"
    ):
        load(MARKET, [*changes, "eval_days=1.5"])


def test_daily_logs_hold_the_same_rows(tmp_path):
    daily = run.run(load(str(MARKET), [*SMALL, "daily_logs=true"]), str(tmp_path / "daily"))
    whole = run.run(load(MARKET, SMALL), str(tmp_path / "whole"))
    assert daily["rows"] == whole["rows"]
    for name, key in (("clicks", "click_id"), ("conversions", "conversion_id")):
        files = sorted((tmp_path / "daily").glob(f"{name}-*-00000.parquet"))
        assert len(files) == daily["market"]["days"]
        parts = [pq.read_table(path) for path in files]
        for path, part in zip(files, parts, strict=True):
            days = set(pc.strftime(pc.cast(part["timestamp"], pa.timestamp("s")), "%Y-%m-%d").to_pylist())
            assert days <= {path.name.removeprefix(f"{name}-")[:10]}
        found = pa.concat_tables(parts).sort_by(key)
        assert found.equals(read(tmp_path / "whole", name).sort_by(key))
