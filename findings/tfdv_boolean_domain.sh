#!/bin/sh
# TensorFlow Data Validation 1.16.1: integers that are only 0 and 1 get a boolean domain, other integers none.
#
# infer_schema gives an INT feature whose values are all 0 or 1 a bool_domain (and leaves its type INT), but sets no domain on
# any other integers, nor on floats that are only 0.0 and 1.0. Later data with a 2 in the first column are an anomaly
# (BOOL_TYPE_BIG_INT), while a 9 is none in a column that had 1 to 3, and 2.0 none in the float column. A counter that happens to
# stay below 2 in the first data (items in a cart, clicks of a session) so fails the validation of a later day.
#
# Needs Python 3.11 (PYTHON=PATH for another place) and 1.5 GB in a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    tensorflow-data-validation==1.16.1 tensorflow==2.16.2 apache-beam==2.72.0 dill==0.3.1.1 setuptools==80.9.0

cat > "$folder/check.py" <<'PYTHON'
import pandas as pd
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2

first = pd.DataFrame({"cart": [0, 1, 1], "pages": [1, 2, 3], "flag": [0.0, 1.0, 1.0]})
later = pd.DataFrame({"cart": [0, 2, 1], "pages": [1, 2, 9], "flag": [0.0, 2.0, 1.0]})

schema = tfdv.infer_schema(tfdv.generate_statistics_from_dataframe(first))
domains = {feature.name: feature.WhichOneof("domain_info") for feature in schema.feature}
assert domains == {"cart": "bool_domain", "pages": None, "flag": None}, domains

anomalies = tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(later), schema)
reasons = {
    name: [anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason]
    for name, info in anomalies.anomaly_info.items()
}
assert reasons == {"cart": ["BOOL_TYPE_BIG_INT"]}, reasons
print("tensorflow-data-validation", tfdv.__version__, "domains:", domains, "anomalies:", reasons)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/check.py" 2> "$folder/stderr" || { tail -3 "$folder/stderr"; exit 1; }
