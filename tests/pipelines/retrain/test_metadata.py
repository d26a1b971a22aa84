"""Config of the store, and errors of those who can't connect."""

import subprocess
import sys

import pydantic
import pytest

from features.errors import MalTfError
from pipelines.retrain.metadata import MetadataConfig, connect

_MYSQL = {"host": "127.0.0.1", "port": 1, "database": "history", "user": "retrain"}


def test_sqlite_and_mysql_exclude_each_other():
    with pytest.raises(pydantic.ValidationError, match="sqlite and mysql exclude each other"):
        MetadataConfig(sqlite="a.sqlite", mysql=_MYSQL)
    assert MetadataConfig(mysql=_MYSQL).mysql.port == 1


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "metadata.sqlite").write_text("spam " * 1000)
    with pytest.raises(MalTfError, match=f"{tmp_path}/metadata.sqlite can't be used: .*not a database"):
        connect(MetadataConfig(), str(tmp_path), create=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MalTfError, match=f"{tmp_path}/file/metadata.sqlite can't be used: .*File exists"):
        connect(MetadataConfig(), str(tmp_path / "file"), create=True)


def test_sqlite_is_for_local_disks():
    with pytest.raises(MalTfError, match="metadata.sqlite is gs://bucket/metadata.sqlite: .* use metadata.mysql"):
        connect(MetadataConfig(), "gs://bucket", create=True)


def test_a_password_comes_from_the_environment_and_stays_out_of_messages(monkeypatch):
    config = MetadataConfig(mysql=_MYSQL | {"password_env": "MAL_TF_TEST_PASSWORD"})
    with pytest.raises(MalTfError, match="environment variable MAL_TF_TEST_PASSWORD, found it not set"):
        connect(config, "/root", create=True)
    monkeypatch.setenv("MAL_TF_TEST_PASSWORD", "open sesame")
    with pytest.raises(MalTfError, match="mysql://retrain@127.0.0.1:1/history can't be used") as raised:
        connect(config, "/root", create=True)
    assert "sesame" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("order", [("ml_metadata", "tensorflow"), ("tensorflow", "ml_metadata")])
def test_ml_metadata_and_tensorflow_share_a_process_in_either_order(tmp_path, order):
    """Both bring native code over protobuf."""
    uses = {
        "ml_metadata": "from pipelines.retrain import metadata\n"
        f"metadata.connect(metadata.MetadataConfig(), {str(tmp_path)!r}, create=True).get_artifacts()\n",
        "tensorflow": "from features.keras2 import tf\nimport pandas, tensorflow_data_validation as tfdv\n"
        "tfdv.generate_statistics_from_dataframe(pandas.DataFrame({'a': [1, 2]}))\n"
        "assert float(tf.reduce_sum(tf.ones(3))) == 3\n",
    }
    script = "".join(uses[name] for name in (*order, *order))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
