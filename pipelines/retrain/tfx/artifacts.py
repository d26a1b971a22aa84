"""Contents of the TFX pipeline's artifacts, and their paths."""

import dataclasses
import datetime

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.utils.path_utils import serving_model_dir

from features.frozen import Frozen
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.retrain import serving, spans
from pipelines.retrain.config import RetrainConfig
from pipelines.retrain.planning import SPANS, Base
from pipelines.run.run import Run
from pipelines.validate import gate
from pipelines.validate.statistics import STATISTICS

#: In the label job's directory, the span's plan.
PLANNED = "planned.json"


class Planned(Frozen):
    """The label component's plan, which later components read from a file beside the labels.

    Attributes:
        span: its days.
        fit_span: span whose label job fits, or has fitted, the attribution.
        run: the span's config.
    """

    span: spans.SpanPlan
    fit_span: datetime.date
    run: RunConfig


def read_planned(labels: str) -> Planned:
    """The plan of the label component that wrote `labels`."""
    return Planned.model_validate_json(files.read_text(f"{labels}/{PLANNED}"))


@dataclasses.dataclass(frozen=True)
class LabelledRun(Run):
    """A run in a Model artifact, whose labels other components have written and checked.

    Attributes:
        labelled: directory of the label job.
    """

    labelled: str = ""

    def labels(self) -> str:
        """The label component's directory."""
        return self.labelled

    def validate(self) -> str:
        """Nothing: the check component has stopped the pipeline for anomalies."""
        return self.labelled


def base_of(model: str, facts: dict) -> Base:
    """The base that a blessed Model artifact and the facts of its blessing stand for."""
    span, until, fit = (datetime.date.fromisoformat(facts[key]) for key in ("span", "trained_until", "fit_span"))
    left_out = tuple(map(datetime.date.fromisoformat, facts.get("left_out", ())))
    return Base(serving.Version(0, serving_model_dir(model), {}), model, facts["labels"], span, until, fit, left_out)


def training_of(model: str, name: str) -> str:
    """Directory of the training in a Model artifact; those of earlier versions have it in `train`, without a manifest."""
    directory, earlier = f"{model}/train/{name}", f"{model}/train"
    if files.exists(f"{directory}/{manifest.MANIFEST}"):
        return directory
    if not files.exists(f"{earlier}/{manifest.MANIFEST}"):
        manifest.finish(earlier, {"made_from": manifest.fingerprint(earlier, files.listing(earlier))})
    return earlier


def facts_of(plan: Planned) -> dict:
    """What later spans need to know of this one."""
    return {
        "span": str(plan.span.span),
        "train": list(map(str, plan.span.train)),
        "calibrate": list(map(str, plan.span.calibrate)),
        **spans.handed_on(plan.span),
        "fit_span": str(plan.fit_span),
    }


def read_statistics(directory: str) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Statistics by split, as TFX's StatisticsGen writes them."""
    read = {split: files.read_bytes(f"{directory}/Split-{split}/{STATISTICS}") for split in ("train", "eval")}
    return {split: statistics_pb2.DatasetFeatureStatisticsList.FromString(data) for split, data in read.items()}


def read_anomalies(directory: str, split: str) -> anomalies_pb2.Anomalies:
    """Anomalies of a split, as TFX's ExampleValidator writes them."""
    return anomalies_pb2.Anomalies.FromString(files.read_bytes(f"{directory}/Split-{split}/{gate.ANOMALIES}"))


def record(config: RetrainConfig, span: datetime.date, name: str) -> str:
    """Path at which later spans look up a result of this one, whichever runner ran it."""
    return f"{config.root}/{SPANS}/{span}/{name}"


def local(uri: str) -> str:
    """Local path of a URI: Vertex AI mounts Cloud Storage at /gcs."""
    return uri.replace("gs://", "/gcs/", 1)
