#!/bin/sh
# TensorFlow Model Analysis 0.52.0: tfma.EvalConfig, SlicingSpec and MetricsSpec are gone.
#
# The names that every example and TFX's Evaluator config start with are no longer attributes of the package: of the messages of
# config.proto only MetricDirection is. The import passes, and the program fails where it makes its config. The messages
# themselves are as before, in tensorflow_model_analysis.proto.config_pb2, and evaluations with them run.
#
# Needs Python 3.11 (PYTHON=PATH for another place) and 2.6 GB in a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

cat > "$folder/check.py" <<'PYTHON'
import pandas as pd
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

names = ("EvalConfig", "ModelSpec", "MetricsSpec", "SlicingSpec", "MetricThreshold", "MetricDirection")
present = [name for name in names if hasattr(tfma, name)]
assert present == ["MetricDirection"], present
assert all(hasattr(config_pb2, name) for name in names)
text = """model_specs { prediction_key: "p" label_key: "l" } slicing_specs {} metrics_specs { metrics { class_name: "AUC" } }"""
config = text_format.Parse(text, config_pb2.EvalConfig())
result = tfma.analyze_raw_data(pd.DataFrame({"l": [0.0, 1.0, 0.0], "p": [0.1, 0.9, 0.2]}), config)
value = result.slicing_metrics[0][1][""][""]["auc"]["doubleValue"]
assert abs(value - 1) < 1e-6, value
print("tensorflow-model-analysis", tfma.__version__, "messages at the top:", present, "AUC through config_pb2:", value)
PYTHON
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    tensorflow-model-analysis==0.52.0 tensorflow==2.21.0 tf-keras==2.21.0 apache-beam==2.77.0 setuptools==80.9.0
"$folder/venv/bin/python" -W ignore "$folder/check.py" 2> "$folder/stderr" || { tail -3 "$folder/stderr"; exit 1; }
