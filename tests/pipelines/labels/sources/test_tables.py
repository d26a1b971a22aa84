"""The order of a log's files."""

import random

import pytest

from pipelines.labels.sources.tables import log_order


@pytest.mark.parametrize(
    "paths",
    [
        ["conv.csv", "conv-2.csv", "conv-10.csv"],
        ["conv.csv.gz", "conv (1).csv.gz", "conv (2).csv.gz", "conv (12).csv.gz"],
        ["day/2024-1-9.jsonl", "day/2024-1-31.jsonl", "day/2024-2-1.jsonl", "day/2024-10-1.jsonl"],
        ["log/part.parquet", "log/part2.parquet", "log/part11.parquet", "log-2/part.parquet"],
        ["dt=9/a.csv", "dt=10/a.csv", "dt=10/a.1.csv"],
        ["gs://b/v1.9.csv", "gs://b/v1.10.csv"],
        ["a01.csv", "a1.csv", "a2.csv", "a002b.csv"],
        ["9.csv", "10.csv", "a.csv"],
        ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"],
    ],
)
def test_the_order_in_which_people_number_files(paths):
    assert sorted(random.Random(1).sample(paths, len(paths)), key=log_order) == paths
