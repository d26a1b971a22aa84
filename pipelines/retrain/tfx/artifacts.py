"""Reads and writes the contents of the TFX pipeline's artifacts."""

import dataclasses
import datetime

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.utils.path_utils import serving_model_dir

from features.frozen import Frozen
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.layout import PLANNED
from pipelines.retrain import serving, spans
from pipelines.retrain.config import RetrainConfig
from pipelines.retrain.planning import SPANS, Base
from pipelines.run.run import Run
from pipelines.validate import gate
from pipelines.validate.statistics import STATISTICS


class Planned(Frozen):
    """The label component's plan, which later components read from a file beside the labels.

    Attributes:
        span: the span's days.
        fit_span: span whose label job fits, or has fitted, the attribution.
        run: the config of the span's run.
    """

    span: spans.SpanPlan
    fit_span: datetime.date
    run: RunConfig


def read_planned(labels: str) -> Planned:
    """Read the plan of the label component that wrote `labels`."""
    return Planned.model_validate_json(files.read_text(f"{labels}/{PLANNED}"))


@dataclasses.dataclass(frozen=True)
class LabelledRun(Run):
    """A run in a Model artifact, whose labels were written and checked by other components.

    Attributes:
        labelled: directory of the label job.
    """

    labelled: str = ""

    def labels(self) -> str:
        """Return the label component's directory."""
        return self.labelled

    def validate(self) -> str:
        """Do nothing: the check component stops the pipeline if there are anomalies."""
        return self.labelled


def base_from(model: str, facts: dict) -> Base:
    """Return the base that a blessed Model artifact and the facts of its blessing stand for."""
    span, until, fit = (datetime.date.fromisoformat(facts[key]) for key in ("span", "trained_until", "fit_span"))
    left_out = tuple(map(datetime.date.fromisoformat, facts.get("left_out", ())))
    return Base(serving.Version(0, serving_model_dir(model), {}), model, facts["labels"], span, until, fit, left_out)


def training_directory(model: str, name: str) -> str:
    """Return the training's directory in a Model artifact. Earlier versions of mal-tf have it in `train`, without manifest."""
    directory, earlier = f"{model}/train/{name}", f"{model}/train"
    if files.exists(f"{directory}/{manifest.MANIFEST}"):
        return directory
    if not files.exists(f"{earlier}/{manifest.MANIFEST}"):
        manifest.finish(earlier, {"made_from": manifest.fingerprint(earlier, files.listing(earlier))})
    return earlier


def span_facts(plan: Planned) -> dict:
    """Return what later spans need to know of this one."""
    return {
        "span": str(plan.span.span),
        "train": list(map(str, plan.span.train)),
        "calibrate": list(map(str, plan.span.calibrate)),
        **spans.facts_for_later(plan.span),
        "fit_span": str(plan.fit_span),
    }


def read_statistics(directory: str) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Read the statistics by split that TFX's StatisticsGen wrote."""
    read = {split: files.read_bytes(f"{directory}/Split-{split}/{STATISTICS}") for split in ("train", "eval")}
    return {split: statistics_pb2.DatasetFeatureStatisticsList.FromString(data) for split, data in read.items()}


def read_anomalies(directory: str, split: str) -> anomalies_pb2.Anomalies:
    """Read the anomalies of a split that TFX's ExampleValidator wrote."""
    return anomalies_pb2.Anomalies.FromString(files.read_bytes(f"{directory}/Split-{split}/{gate.ANOMALIES}"))


def record_path(config: RetrainConfig, span: datetime.date, name: str) -> str:
    """Return the path at which later spans look up a result of this one, whichever runner ran it."""
    return f"{config.root}/{SPANS}/{span}/{name}"


def local(uri: str) -> str:
    """Return the local path of a URI; Vertex AI mounts Cloud Storage at /gcs."""
    return uri.replace("gs://", "/gcs/", 1)
