"""Times as ML Metadata keeps them."""

import datetime

from ml_metadata.proto import metadata_store_pb2 as proto

from pipelines.retrain import history_records


def test_times_are_utc_and_keep_milliseconds():
    found = proto.Execution(create_time_since_epoch=1_747_699_200_250, last_update_time_since_epoch=1_747_699_260_000)
    history_records.put(found, {"run": 3, "stage": "train/mal"})
    stage = history_records.stage(found)
    assert stage.started == datetime.datetime(2025, 5, 20, 0, 0, 0, 250_000, datetime.timezone.utc)
    assert stage.changed == datetime.datetime(2025, 5, 20, 0, 1, tzinfo=datetime.timezone.utc)
    assert (stage.run, stage.name, stage.state, stage.reason) == (3, "train/mal", "UNKNOWN", "")
