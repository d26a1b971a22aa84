"""Metrics of other packages for given predictions: `python metrics.py CLICKS.npz OUTPUT.json`.

Runs in an environment of its own (`requirements-metrics.txt`); `benchmarks.metrics_peers` calls it. The file has `user` (codes),
`label` (credit in [0, 1]) and `prediction` (float32). Packages that are not installed are left out.
"""

import importlib.metadata
import json
import os
import sys
import warnings

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


class Clicks:
    """Labels and predictions in the forms that packages read."""

    def __init__(self, user, label, prediction):
        self.user, self.label, self.prediction = user, label.astype(np.float64), prediction
        self.positive = (label > 0).astype(np.int64)
        self.weight = np.where(label > 0, self.label, 1.0)
        #: The predictions with 0 in place of the first positive's.
        self.with_zero = np.where(np.arange(label.size) == self.positive.argmax(), np.float32(0), prediction)

    def by_user(self):
        """Rows of each user."""
        order = np.argsort(self.user, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.user[order])) + 1)


def sklearn(clicks):
    """scikit-learn."""
    from sklearn import calibration, metrics

    def per_user(weigh):
        values, weights = [], []
        for rows in clicks.by_user():
            positive = clicks.positive[rows]
            if 0 < positive.sum() < rows.size:
                values.append(
                    metrics.roc_auc_score(positive, clicks.prediction[rows], sample_weight=clicks.weight[rows])
                )
                weights.append(weigh(positive))
        return np.average(values, weights=weights)

    def ece(strategy, bins):
        observed, predicted = calibration.calibration_curve(
            clicks.positive, clicks.prediction, n_bins=bins, strategy=strategy
        )
        if strategy == "quantile":
            return np.mean(np.abs(observed - predicted))
        counts = np.bincount(np.minimum((clicks.prediction * bins).astype(int), bins - 1), minlength=bins)
        return np.average(np.abs(observed - predicted), weights=counts[counts > 0])

    return {
        ("auc", "roc_auc_score, positives weigh l"): lambda: metrics.roc_auc_score(
            clicks.positive, clicks.prediction, sample_weight=clicks.weight
        ),
        ("auc", "roc_auc_score, no weights"): lambda: metrics.roc_auc_score(clicks.positive, clicks.prediction),
        ("gauc", "of each user, mean by clicks"): lambda: per_user(len),
        ("gauc", "of each user, plain mean (EasyRec's default)"): lambda: per_user(lambda positive: 1),
        ("gauc", "of each user, mean by positives (RecBole, EasyRec)"): lambda: per_user(np.sum),
        ("log_loss", "log_loss of l"): lambda: metrics.log_loss(clicks.label, clicks.prediction, labels=[0, 1]),
        ("log_loss", "log_loss of l > 0"): lambda: metrics.log_loss(clicks.positive, clicks.prediction),
        ("log_loss_zero", "log_loss of l > 0, float32"): lambda: metrics.log_loss(clicks.positive, clicks.with_zero),
        ("log_loss_zero", "log_loss of l > 0, float64"): lambda: metrics.log_loss(
            clicks.positive, clicks.with_zero.astype(np.float64)
        ),
        ("ece", "calibration_curve, ten quantiles"): lambda: ece("quantile", 10),
        ("ece", "calibration_curve, ten equal widths"): lambda: ece("uniform", 10),
    }


def tf_keras(clicks):
    """Package tf_keras, float32."""
    import tf_keras as package

    def run(metric, label, weight=None):
        for start in range(0, len(label), 4096):
            rows = slice(start, start + 4096)
            metric.update_state(
                label[rows], clicks.prediction[rows], sample_weight=None if weight is None else weight[rows]
            )
        return metric.result().numpy()

    keras = package.metrics
    single = clicks.label.astype(np.float32)
    return {
        ("auc", "AUC(), positives weigh l"): lambda: run(keras.AUC(), clicks.positive, clicks.weight),
        ("auc", "AUC(10000), positives weigh l"): lambda: run(keras.AUC(10_000), clicks.positive, clicks.weight),
        ("auc", "AUC(), label l"): lambda: run(keras.AUC(), single),
        ("log_loss", "BinaryCrossentropy, label l"): lambda: keras.BinaryCrossentropy()(
            single[:, None], clicks.prediction[:, None]
        ).numpy(),
    }


def tfma(clicks):
    """TensorFlow Model Analysis, through its in-memory analysis of a data frame."""
    import pandas as pd
    import tensorflow_model_analysis as package
    from google.protobuf import text_format
    from tensorflow_model_analysis.proto import config_pb2  # 0.52.0 has no tfma.EvalConfig

    names = ["AUC", "BinaryCrossEntropy", "Calibration"]
    config = text_format.Parse(
        'model_specs { prediction_key: "p" label_key: "l" } slicing_specs {} metrics_specs {'
        + " ".join(f'metrics {{ class_name: "{name}" }}' for name in names)
        + "}",
        config_pb2.EvalConfig(),
    )

    def analysed(label, weight=None):
        frame = pd.DataFrame({"l": label.astype(np.float32), "p": clicks.prediction})
        specs = config_pb2.EvalConfig()
        specs.CopyFrom(config)
        if weight is not None:
            frame["w"] = weight.astype(np.float32)
            specs.model_specs[0].example_weight_key = "w"
        result = package.analyze_raw_data(frame, specs)
        values = result.slicing_metrics[0][1][""][""]
        return {key: value["doubleValue"] for key, value in values.items() if "doubleValue" in value}

    found = {"l": analysed(clicks.label), "w": analysed(clicks.positive, clicks.weight)}
    names = {"auc": "auc", "log_loss": "binary_crossentropy", "pcoc": "calibration"}
    rows = {(ours, f"{key}, label l"): lambda key=key: found["l"][key] for ours, key in names.items()}
    return rows | {("auc", "auc, positives weigh l"): lambda: found["w"]["auc"]}


def torchmetrics(clicks):
    """Package torchmetrics, exact or with its defaults."""
    import torch
    from torchmetrics import classification, retrieval

    prediction, positive = torch.tensor(clicks.prediction), torch.tensor(clicks.positive)
    users = torch.tensor(clicks.user)

    def by_user(**parameters):
        return retrieval.RetrievalAUROC(**parameters)(prediction, positive, indexes=users).item()

    return {
        ("auc", "BinaryAUROC()"): lambda: classification.BinaryAUROC()(prediction, positive).item(),
        ("gauc", "RetrievalAUROC()"): by_user,
        ("gauc", "RetrievalAUROC(empty_target_action='skip')"): lambda: by_user(empty_target_action="skip"),
        ("ece", "BinaryCalibrationError()"): lambda: classification.BinaryCalibrationError()(
            prediction, positive
        ).item(),
    }


def netcal(clicks):
    """Package netcal."""
    from netcal.metrics import ECE

    return {("ece", "ECE(10)"): lambda: ECE(10).measure(clicks.prediction, clicks.positive)}


def torchrec(clicks):
    """Package torchrec 1.9.2 (auc.py, gauc.py, ne.py, calibration.py), written anew: its wheels need CUDA's libraries."""

    def area(rows, label):
        """Trapezoids over the clicks in falling order; equal predictions stay in the order of the rows."""
        order = rows[np.argsort(-clicks.prediction[rows], kind="stable")]
        plus, minus = np.cumsum(label[order]), np.cumsum(1 - label[order])
        steps = np.diff(minus, prepend=0.0) * (plus + np.append(0.0, plus[:-1])) / 2
        return steps.sum() / (plus[-1] * minus[-1]) if plus[-1] * minus[-1] else 0.5

    def grouped():
        values = []
        for rows in clicks.by_user():
            label = clicks.label[rows]
            if label.sum() > 0 and (1 - label).sum() > 0 and np.ptp(clicks.prediction[rows]) > 0:
                order = np.argsort(clicks.prediction[rows], kind="stable")
                sorted_label = label[order]
                below = np.cumsum(1 - sorted_label)
                values.append((sorted_label * below).sum() / (label.sum() * (1 - label).sum()))
        return np.mean(values)

    def bits():
        p = np.clip(clicks.prediction.astype(np.float64), 1e-12, 1 - 1e-12)
        return -np.mean(clicks.label * np.log2(p) + (1 - clicks.label) * np.log2(1 - p))

    everyone = np.arange(clicks.user.size)
    return {
        ("auc", "AUC, label l"): lambda: area(everyone, clicks.label),
        ("auc", "AUC, label l, rows reversed"): lambda: area(everyone[::-1], clicks.label),
        ("gauc", "GAUC, label l"): grouped,
        ("log_loss", "logloss of NE, label l"): bits,
        ("pcoc", "calibration, label l"): lambda: clicks.prediction.sum(dtype=np.float64) / clicks.label.sum(),
    }


#: Name, distribution on PyPI and metrics by what they are compared with; None: a definition.
PACKAGES = {
    "scikit-learn": ("scikit-learn", sklearn),
    "tf_keras": ("tf-keras", tf_keras),
    "TFMA": ("tensorflow-model-analysis", tfma),
    "torchmetrics": ("torchmetrics", torchmetrics),
    "netcal": ("netcal", netcal),
    "torchrec (definition)": (None, torchrec),
}


def rows(clicks):
    """Run every metric of every installed package."""
    for name, (distribution, make) in PACKAGES.items():
        try:
            version = importlib.metadata.version(distribution) if distribution else "1.9.2"
        except importlib.metadata.PackageNotFoundError:
            continue
        for (ours, variant), run in make(clicks).items():
            row = {"package": name, "version": version, "metric": ours, "variant": variant}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    row["value"] = float(run())
            except Exception as error:
                row["reason"] = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            yield row


def main():
    """Read clicks, compute, write."""
    source, output = sys.argv[1:]
    with np.load(source) as file:
        clicks = Clicks(file["user"], file["label"], file["prediction"])
    with open(output, "w", encoding="utf-8") as file:
        json.dump(list(rows(clicks)), file, indent=1)


if __name__ == "__main__":
    main()
