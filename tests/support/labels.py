"""Label files as tests read them, and the labels that they should hold."""

import json

import pandas as pd

from features.keras2 import tf

HOUR = 3600


MECHANISMS = ("first", "last", "linear", "mta")


def read_labels(folder, mechanisms=MECHANISMS, kinds=("label", "credit")):
    """Labels and raw credits by click id, from the files the manifest lists."""
    columns = [f"{kind}_{name}" for kind in kinds for name in mechanisms]
    manifest = json.loads((folder / "manifest.json").read_text())
    parsing = {name: tf.io.FixedLenFeature([], tf.float32) for name in columns}
    parsing |= {"click_id": tf.io.FixedLenFeature([], tf.int64), "timestamp": tf.io.FixedLenFeature([], tf.int64)}
    found = {}
    for file in manifest["files"]:
        for record in tf.data.TFRecordDataset(str(folder / file["path"]), compression_type="GZIP"):
            row = {key: value.numpy().item() for key, value in tf.io.parse_single_example(record, parsing).items()}
            found[row.pop("click_id")] = row
    return found


def oracle(clicks, conversions, window):
    """First, last and linear labels, by the definition and nothing else."""
    labels = {c["id"]: {"label_first": 0.0, "label_last": 0.0, "label_linear": 0.0} for c in clicks.to_pylist()}
    for conversion in conversions.to_pylist():
        eligible = sorted(
            (c["ts"], c["id"])
            for c in clicks.to_pylist()
            if (c["user"], c["shop"]) == (conversion["user"], conversion["shop"])
            and 0 <= conversion["ts"] - c["ts"] <= window
        )
        if eligible:
            labels[eligible[0][1]]["label_first"] += 1
            labels[eligible[-1][1]]["label_last"] += 1
            for _, click in eligible:
                labels[click]["label_linear"] += 1 / len(eligible)
    capped = {click: {k: min(v, 1.0) for k, v in of.items()} for click, of in labels.items()}
    return {c: of | {k.replace("label_", "credit_"): v for k, v in labels[c].items()} for c, of in capped.items()}


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def labels_of(project, name="labels", mechanisms=("first", "last", "linear", "mta"), kinds=("label", "credit")):
    project.write()
    project.labels(name)
    return read_labels(project.folder / name, mechanisms, kinds)


def read_examples(folder, whole=(), fractions=(), texts=()):
    """Columns of all examples of a label job's output, by its manifest."""
    kinds = ((whole, tf.int64), (fractions, tf.float32), (texts, tf.string))
    parsing = {name: tf.io.FixedLenFeature([], kind) for names, kind in kinds for name in names}
    files = [str(folder / f["path"]) for f in json.loads((folder / "manifest.json").read_text())["files"] if f["rows"]]
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(8192)
    parts = [tf.io.parse_example(batch, parsing) for batch in batches]
    return pd.concat([pd.DataFrame({k: v.numpy() for k, v in part.items()}) for part in parts], ignore_index=True)
