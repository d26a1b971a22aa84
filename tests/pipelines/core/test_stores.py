"""Uploads that are whole or absent, errors of the network that are said as such, and options before the first file."""

import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import S3Options

from features.errors import BadInput, MalTfError
from pipelines.core import beam_runner, files, stores
from pipelines.labels.sources import reader

PLACE = "mem://bucket/folder/file.csv"


@pytest.fixture
def options():
    before = FileSystems._pipeline_options
    yield
    FileSystems.set_options(before)


def test_a_file_whose_writer_fails_does_not_appear(store):
    files.write_text(PLACE, "earlier")
    with pytest.raises(RuntimeError, match="half"), files.created(PLACE) as file:
        file.write(b"half of it")
        raise RuntimeError("half")
    assert files.read_text(PLACE) == "earlier"


def test_an_upload_that_breaks_leaves_no_part_of_it(store, monkeypatch):
    monkeypatch.setattr(stores, "_ONE_REQUEST", 4)
    create = store.create

    class Broken:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()  # As clients do: what was written becomes the file.

        def write(self, data):
            self.file.write(data[:3])
            raise ConnectionError("reset by peer")

    monkeypatch.setattr(store, "create", lambda self, path, *rest, **more: Broken(create(self, path)))
    with pytest.raises(MalTfError, match=f"{PLACE} can't be written: ConnectionError: reset by peer"):
        files.write_text(PLACE, "a long text")
    assert not store.objects


def test_a_network_that_breaks_while_reading_is_no_damaged_file(store, monkeypatch):
    files.write_text(PLACE, "user,ts\na,1\n")
    opened = store.open

    def broken(self, path, *rest, **more):
        file = opened(self, path)
        monkeypatch.setattr(type(file.raw), "readinto", lambda *_: (_ for _ in ()).throw(ConnectionError("no route")))
        return file

    monkeypatch.setattr(store, "open", broken)
    for read in (files.read_bytes, files.sha256, reader.column_names):
        with pytest.raises(
            MalTfError, match=f"{PLACE} can't be read: ConnectionError: no route.*and the network"
        ) as caught:
            read(PLACE)
        assert not isinstance(caught.value, BadInput)


def test_flags_are_options_of_the_filesystems_at_once(options):
    beam_runner.pipeline_options(["--s3_endpoint_url=http://minio:9000"])
    assert FileSystems._pipeline_options.view_as(S3Options).s3_endpoint_url == "http://minio:9000"


def test_without_flags_filesystems_have_options_too(options):
    FileSystems.set_options(None)
    stores.filesystems()
    assert FileSystems._pipeline_options.view_as(S3Options).s3_endpoint_url is None


def test_a_missing_client_is_named(monkeypatch):
    from apache_beam.io.aws.clients.s3 import boto3_client

    monkeypatch.setattr(boto3_client, "boto3", None)
    with pytest.raises(MalTfError, match=r"s3://b/f can't be looked up: s3:// needs boto3: pip install 'mal-tf\[s3\]'"):
        files.exists("s3://b/f")


def test_unknown_schemes_are_said():
    with pytest.raises(MalTfError, match="ftp://b/f can't be looked up: ValueError: Unable to get filesystem"):
        files.exists("ftp://b/f")


def test_refuse():
    stores.refuse("runs/shop", "--output", "")
    stores.refuse("", "--output", "")
    with pytest.raises(MalTfError, match="--output: expected a local path, found gs://b/r; copy it"):
        stores.refuse("gs://b/r", "--output", "copy it")
