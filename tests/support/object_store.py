"""A project in an object store."""

import copy
import gzip
import io

import pyarrow.csv
import pyarrow.parquet as pq
import yaml

from pipelines.core import files

HOME = "mem://bucket/shop"


def upload(project, home=HOME):
    """Puts the project's files there, with a table to join one folder up."""
    config = copy.deepcopy(project.config)
    clicks = project.clicks.append_column("place_copy", project.clicks["place"])
    places = pyarrow.table({"place_copy": ["top", "side", "feed"], "height": [10, 20, 30]})
    config["sources"]["clicks"]["join"] = [{"files": "../places.csv.gz", "on": "place_copy"}]
    config["features"].append({"type": "categorical", "name": "height"})
    for table, path in ((clicks, "clicks.parquet"), (project.conversions, "conversions.parquet")):
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=250)
        files.write_bytes(f"{home}/{path}", sink.getvalue())
    sink = io.BytesIO()
    pyarrow.csv.write_csv(places, sink)
    files.write_bytes(files.resolve("../places.csv.gz", home), gzip.compress(sink.getvalue()))
    files.write_text(f"{home}/config.yaml", yaml.safe_dump(config))
    return f"{home}/config.yaml"
