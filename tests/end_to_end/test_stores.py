"""A run with its logs, config and output on GCS and S3, by real servers. `make test-stores` installs and starts them."""

import os
import pathlib
import subprocess
import sys

import pytest

from pipelines.core import files, manifest
from tests.support.labels import tree
from tests.support.object_store import upload
from tests.support.store_servers import SERVERS, serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SERVERS, reason="needs the servers of `make test-stores`")]


@pytest.fixture(params=["gs", "s3"])
def home(request, monkeypatch, tmp_path):
    with serving(request.param) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST" if request.param == "gs" else "AWS_ENDPOINT_URL", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "anything")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("MAL_TF_CACHE", str(tmp_path / "cache"))
        if request.param == "s3":
            boto3 = pytest.importorskip("boto3")
            boto3.client("s3").create_bucket(Bucket="bucket")
        yield f"{request.param}://bucket/shop"


def mal_tf(*arguments, fails=False):
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "300"}, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_logs_to_predictions(project, home, monkeypatch, tmp_path):
    config, output = upload(project, home), f"{home}/runs/small"
    said = mal_tf("run", config, "--output", output)
    assert f"SavedModel: {output}/serving/mal/1" in said and f"Report: {output}/report.html" in said
    here = tmp_path / "here"
    local = upload(project, str(here))
    mal_tf("labels", local, "--output", str(here / "run"))
    expected, place = tree(here / "run/labels"), manifest.place(f"{output}/labels")
    for path in expected.keys() - {"manifest.json"}:
        assert files.read_bytes(f"{place}/{path}") == expected[path]

    monkeypatch.setenv("MAL_TF_CACHE", str(tmp_path / "another machine"))
    said = mal_tf("run", config, "--output", output)
    assert "started" not in said and "train/mal: already finished, nothing changed" in said
    clicks = f"{place}/{manifest.read(f'{output}/labels')['files'][-1]['path']}"
    said = mal_tf("predict", f"{output}/serving/mal", clicks, "--output", f"{home}/predictions.csv")
    assert f"predictions in {home}/predictions.csv" in said
    assert files.read_text(f"{home}/predictions.csv").startswith('"click_id","cvr"')
    mal_tf("report", output)
    mal_tf("evaluate", config, "--output", output, "--model", f"m={output}/serving/base", "--split", "train")
    mal_tf("verify", output)

    before = files.listing(f"{output}/labels")
    data = bytearray(files.read_bytes(f"{home}/clicks.parquet"))
    data[100:400] = bytes(300)
    files.write_bytes(f"{home}/clicks.parquet", bytes(data))
    assert "clicks.parquet can't be read as parquet" in mal_tf("labels", config, "--output", output, fails=True)
    after = files.listing(f"{output}/labels")
    assert {path: after.get(path) for path in before} == before


def test_a_bucket_that_is_not_there_is_said_before_work(project, home):
    config, output = project.write(), home.replace("bucket/", "missing/")
    said = mal_tf("train", config, "--output", output, fails=True)
    assert f"error: {output}/run.json can't be written" in said or f"error: {output}" in said
    assert "started" not in said and "Traceback" not in said
    assert not pathlib.Path(home.split("//")[0]).exists()
