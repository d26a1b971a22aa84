"""A log that can't be read as configured is refused at its first rows, before the job."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput
from pipelines.labels import sample
from pipelines.labels.sources import reader


@pytest.fixture
def large(project, monkeypatch):
    """Three files of clicks, as if large."""
    monkeypatch.setattr(sample, "_WORTH", 1)
    monkeypatch.setattr(sample, "_ENOUGH", 100)
    for number in range(3):
        pq.write_table(project.clicks.slice(200 * number, 200), project.folder / f"clicks-{number}.parquet")
    project.config["sources"]["clicks"]["files"] = "clicks-*.parquet"
    return project


def spoil(project, *numbers):
    for number in numbers:
        path = project.folder / f"clicks-{number}.parquet"
        rows = pq.read_table(path)
        place = rows.schema.get_field_index("user")
        pq.write_table(rows.set_column(place, "user", pa.nulls(rows.num_rows, rows["user"].type)), path)


def test_nearly_only_bad_rows_are_said_before_anything_is_written(large):
    spoil(large, 0, 1, 2)
    large.write()
    with pytest.raises(
        BadInput, match=r"^clicks: 200 of the first 200 rows of .*clicks-0.parquet are bad: user"
    ) as found:
        large.labels("labels")
    assert "max_bad_share to 0.1 or more" in str(found.value)
    assert not (large.folder / "labels").exists()


@pytest.mark.parametrize("spoilt", [(0,), (0, 1), (2,)])
def test_some_bad_files_are_for_the_job_to_count(large, spoilt):
    spoil(large, *spoilt)
    large.write()
    with pytest.raises(BadInput, match=f"{200 * len(spoilt)} of 600 rows of the clicks table are bad, more than"):
        large.labels("labels")


def test_whoever_allows_it_labels_the_others(large):
    spoil(large, 0)
    large.config["labels"]["max_bad_share"] = 0.5
    large.write()
    large.labels("labels")


def test_a_small_log_is_left_to_the_job(large, monkeypatch):
    monkeypatch.setattr(sample, "_WORTH", 1 << 30)
    spoil(large, 0, 1, 2)
    large.write()
    with pytest.raises(BadInput, match="600 of 600 rows of the clicks table are bad, more than"):
        large.labels("labels")


def test_a_log_that_is_sorted_with_nulls_first_is_labelled(large, monkeypatch):
    rows = pa.concat_tables([large.clicks.slice(0, 600)] * 2)
    users = pa.array([None] * 200 + rows["user"].to_pylist()[200:])
    place = rows.schema.get_field_index("user")
    ids = rows.schema.get_field_index("id")
    rows = rows.set_column(place, "user", users).set_column(ids, "id", pa.array(map(str, range(1200))))
    pq.write_table(rows, large.folder / "clicks-9.parquet", row_group_size=100)
    rows.to_pandas().to_csv(large.folder / "clicks-9.csv", index=False)
    monkeypatch.setattr(reader, "_BATCH_ROWS", 150)
    monkeypatch.setattr(reader, "_BLOCK_BYTES", 4000)
    for name in ("clicks-9.parquet", "clicks-9.csv"):
        large.config["sources"]["clicks"]["files"] = name
        large.write()
        with pytest.raises(BadInput, match="200 of 1,200 rows of the clicks table are bad, more than"):
            large.labels("labels")
