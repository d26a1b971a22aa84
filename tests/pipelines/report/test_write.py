import json
import logging
import pathlib

import pytest

from features.errors import Busy, Interrupted, MalTfError
from pipelines.core import files
from pipelines.report import page, write
from tests.pipelines.report import runs
from tests.support.labels import tree


@pytest.fixture
def run(tmp_path):
    return runs.write(tmp_path / "run")


def test_a_run_that_ends_or_is_refused_gets_its_page(run):
    written = pathlib.Path(run, write.REPORT)
    with write.at_the_end(run):
        assert not written.exists()
    assert written.read_text().startswith("<!DOCTYPE html>")
    written.unlink()
    with pytest.raises(MalTfError, match="refused"), write.at_the_end(run):
        raise MalTfError("refused")
    assert written.exists()


def test_stages_of_an_earlier_config_are_named_on_the_page_and_by_the_command(run, tmp_path, caplog):
    confirmed = {"evaluate": "of an earlier config", "train/mal": files.sha256(f"{run}/config.yaml")}
    pathlib.Path(run, "stages.json").write_text(json.dumps(confirmed))
    write.write([run], f"{run}/report.html")
    text = pathlib.Path(run, "report.html").read_text()
    assert "evaluate: last made or confirmed with an earlier config" in text and "train/mal: last made" not in text
    assert f"{run}/evaluate: last made or confirmed with an earlier config; `mal-tf run` brings it" in caplog.text
    write.write([run, runs.write(tmp_path / "other")], str(tmp_path / "both.html"))
    assert "outdated stages" in (tmp_path / "both.html").read_text()


@pytest.mark.parametrize("output", ["config.yaml", "run.json", "evaluate/metrics.json", "train", "../run/config.yaml"])
def test_the_page_replaces_no_file_of_the_run(run, output):
    before = tree(pathlib.Path(run))
    with pytest.raises(MalTfError, match="expected (a place apart|an HTML file to write)"):
        write.write([run], f"{run}/{output}")
    assert tree(pathlib.Path(run)) == before


@pytest.mark.parametrize("error", [Interrupted("SIGTERM"), Busy("a"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_run_that_is_cut_short_or_another_process_is_at_gets_none(run, error):
    with pytest.raises(type(error)), write.at_the_end(run):
        raise error
    assert not pathlib.Path(run, write.REPORT).exists()


def test_the_pages_own_trouble_is_a_warning(run, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(page, "render", broken)
    with caplog.at_level(logging.WARNING, "mal_tf.report"), write.at_the_end(run):
        pass
    assert "the report was not written: RuntimeError: no fonts" in caplog.text
    with pytest.raises(RuntimeError):
        write.write([run], "report.html")
