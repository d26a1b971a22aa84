"""The page about the statistics: what it shows, and that it opens without a network."""

import re

import pyarrow as pa
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory

from pipelines.validate.page import page
from pipelines.validate.tfdv import tfdv


def test_it_shows_both_splits_side_by_side_and_needs_no_network():
    train = {"price": [[1.5], [0.0], None], "place": [[b"top"], [b"top"], [b"<b>"]]}
    later = {"place": [[b"side"]]}
    shown = page(
        {
            split: generate_statistics_in_memory(pa.RecordBatch.from_pydict(columns), tfdv.StatsOptions())
            for split, columns in (("train", train), ("eval", later))
        }
    )
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", shown)[1:]]
    assert [row[:5] for row in rows] == [
        ["place", "train", "string", "3 (100.0%)", "3"],
        ["place", "eval", "string", "1 (100.0%)", "1"],
        ["price", "train", "float", "2 (66.7%)", "2"],
        ["price", "eval", "–", "0", ""],
    ]
    assert rows[0][-1] == "top (2), &lt;b&gt; (1)" and rows[2][6:11] == ["0.75", "0", "1.5", "1.5", "50.0%"]
    assert len({len(row) for row in rows}) == 1
    assert not re.search(r"<script|<link|src=|https?://", shown)
