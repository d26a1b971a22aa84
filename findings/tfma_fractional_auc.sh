#!/bin/sh
# TensorFlow Model Analysis 0.52.0: AUC of fractional labels splits each example into a positive and a negative; tf_keras' does not.
#
# A label l between 0 and 1 counts as a positive of weight l and a negative of weight 1 - l with the same prediction, so that an
# example competes with itself. tf_keras.metrics.AUC, whose name and arguments are the same, makes truth values of labels, so that
# .25 counts as a whole positive. With l as the weight of positives there is a third value. None of them warns, and with labels 0
# and 1 all agree.
#
# Needs Python 3.11 (PYTHON=PATH for another place) and 2.6 GB in a temporary folder.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

cat > "$folder/check.py" <<'PYTHON'
import numpy as np
import pandas as pd
import tensorflow_model_analysis as tfma
import tf_keras
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

LABEL, PREDICTION = np.array([0.5, 1.0, 0.0, 0.25]), np.array([0.1, 0.9, 0.2, 0.3])
TEXT = """model_specs { prediction_key: "p" label_key: "l" } slicing_specs {} metrics_specs { metrics { class_name: "AUC" } }"""


def of_tfma(label):
    config = text_format.Parse(TEXT, config_pb2.EvalConfig())
    result = tfma.analyze_raw_data(pd.DataFrame({"l": label, "p": PREDICTION}), config)
    return round(result.slicing_metrics[0][1][""][""]["auc"]["doubleValue"], 4)


def of_keras(label, weight=None):
    metric = tf_keras.metrics.AUC(10_000)
    metric.update_state(label, PREDICTION, sample_weight=weight)
    return round(float(metric.result()), 4)


truth, weight = np.ceil(LABEL), np.where(LABEL > 0, LABEL, 1.0)
values = {"tfma": of_tfma(LABEL), "tf_keras": of_keras(LABEL), "tf_keras, weights": of_keras(truth, weight)}
assert values == {"tfma": 0.7222, "tf_keras": 0.6667, "tf_keras, weights": 0.7143}, values
assert of_tfma(truth) == of_keras(truth) == 0.6667
print("tensorflow-model-analysis", tfma.__version__, "tf_keras", tf_keras.__version__, "AUC:", values)
PYTHON
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
    tensorflow-model-analysis==0.52.0 tensorflow==2.21.0 tf-keras==2.21.0 apache-beam==2.77.0 setuptools==80.9.0
"$folder/venv/bin/python" -W ignore "$folder/check.py" 2> "$folder/stderr" || { tail -3 "$folder/stderr"; exit 1; }
