"""Custom components of the TFX pipeline, and the `run_fn` of its Trainer, which run the stages of `mal-tf retrain`."""

import dataclasses
import json
import pathlib
from typing import Any

from google.protobuf import text_format
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto.example_gen_pb2 import PayloadFormat
from tfx.types import artifact_utils
from tfx.utils.path_utils import serving_model_dir

from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.layout import PLAN, PLANNED
from pipelines.core.stage_runner import run_stage
from pipelines.labels import run as label_job
from pipelines.labels.finish import REPORT
from pipelines.retrain import blessing as blessings
from pipelines.retrain import checks, serving, spans
from pipelines.retrain.config import RetrainConfig
from pipelines.retrain.judge import BLESSED, CANDIDATE
from pipelines.retrain.planning import BLESS, CHECKS, Refused, plan_span, trailing_reports
from pipelines.retrain.run import check_export, judge_candidate
from pipelines.retrain.tfx import artifacts
from pipelines.retrain.tfx.artifacts import local
from pipelines.validate import gate
from pipelines.validate.schema import infer_schema, load_schema

_Input, _Output, _Parameter = (
    tfx.dsl.components.InputArtifact,
    tfx.dsl.components.OutputArtifact,
    tfx.dsl.components.Parameter,
)
_types = tfx.types.standard_artifacts

#: Value of the parameter `span` that stands for yesterday, UTC, when the pipeline runs.
YESTERDAY = "yesterday"

#: Property of blessings that TFX's Resolver and Pusher read.
_IS_BLESSED = "blessed"


class Measurements(tfx.dsl.Artifact):
    """Measurements of the checks, in `measurements.json`."""

    TYPE_NAME = "maltf.Measurements"  # In the format that Kubeflow Pipelines requires.


@tfx.dsl.components.component
def label(
    examples: _Output[_types.Examples],
    schedule: _Parameter[str],
    run: _Parameter[str],
    span: _Parameter[str],
    first: _Parameter[int],
    base: _Input[_types.Model] = None,
    blessing: _Input[_types.ModelBlessing] = None,
):
    """Plan a span from the last blessed model and label its clicks.

    Args:
        examples: the label job's directory, which has the layout of TFX's Examples.
        schedule: a `RetrainConfig` as JSON.
        run: the `RunConfig` that all spans' runs are derived from, as JSON.
        span: newest day of the logs, or `yesterday`.
        first: 1 on a first run, without a model to start from.
        base: the last blessed model.
        blessing: the blessing of `base`.

    Raises:
        Refused: there is no day to train on.
    """
    config, base_run = RetrainConfig.model_validate_json(schedule), RunConfig.model_validate_json(run)
    (day,) = spans.requested_spans("" if span == YESTERDAY else span, "", "")
    last = blessings.read(local(blessing.uri)).facts if blessing else None
    start = artifacts.base_from(local(base.uri), last) if base else None
    if start and start.span >= day:
        raise Refused(f"span {day}: the last blessed model is of span {start.span}", [])
    days, refit = plan_span(config, base_run, day, start, bool(first))
    fit_from = None if refit else last["labels"]
    immature = "drop" if config.immature == "wait" else "mark"
    run_config = spans.span_config(base_run, days, immature, config.missing_days, fit_from=fit_from)
    if start:
        run_config = run_config.model_copy(
            update={
                "labels": run_config.labels.model_copy(update={"grow_from": last["labels"]}),
                "training": run_config.training.model_copy(
                    update={"warm_start": artifacts.training_directory(start.run, run_config.model.name)}
                ),
            }
        )
    output = local(examples.uri)
    label_job.run(run_config, output, overwrite=True)
    plan = artifacts.Planned(span=days, fit_span=day if refit else start.fit_span, run=run_config)
    files.write_text(f"{output}/{PLANNED}", plan.model_dump_json(indent=1))
    examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
    examples.span = int(f"{day:%Y%m%d}")
    examples_utils.set_payload_format(examples, PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    record: dict[str, Any] = {key: list(map(str, getattr(days, key))) for key in ("train", "calibrate")}
    record |= {"span": str(day), "judge": str(days.judge)}
    files.write_text(artifacts.record_path(config, day, PLAN), json.dumps(record, indent=1) + "\n")
    files.write_text(artifacts.record_path(config, day, f"labels/{REPORT}"), files.read_text(f"{output}/{REPORT}"))


@tfx.dsl.components.component
def schema(
    schema: _Output[_types.Schema],
    examples: _Input[_types.Examples],
    statistics: _Input[_types.ExampleStatistics],
    blessing: _Input[_types.ModelBlessing] = None,
):
    """Output the last blessed run's schema; on a first run, a schema with environments, inferred from the train split.

    Args:
        schema: the schema.
        examples: labelled clicks.
        statistics: their statistics.
        blessing: blessing of the last blessed model.
    """
    if blessing:
        held = blessings.read(local(blessing.uri)).facts["schema"]
        text = files.read_text(f"{held}/{gate.SCHEMA}")
    else:
        spec = artifacts.read_planned(local(examples.uri)).run.feature_spec
        text = text_format.MessageToString(
            infer_schema(artifacts.read_statistics(local(statistics.uri))["train"], spec)
        )
    files.write_text(f"{local(schema.uri)}/{gate.SCHEMA}", text)


@tfx.dsl.components.component
def check(
    measurements: _Output[Measurements],
    examples: _Input[_types.Examples],
    statistics: _Input[_types.ExampleStatistics],
    schema: _Input[_types.Schema],
    anomalies: _Input[_types.ExampleAnomalies],
    schedule: _Parameter[str],
    blessing: _Input[_types.ModelBlessing] = None,
):
    """Stop the pipeline if the checks or ExampleValidator find anomalies; ExampleValidator itself only records them.

    Args:
        measurements: measurements of the checks.
        examples: labelled clicks.
        statistics: their statistics.
        schema: the schema that they were validated against.
        anomalies: anomalies that ExampleValidator found.
        schedule: a `RetrainConfig` as JSON.
        blessing: blessing of the last blessed model.

    Raises:
        Refused: the data has anomalies, each reported with feature, measure, value and limit.
    """
    config, labels = RetrainConfig.model_validate_json(schedule), local(examples.uri)
    plan, by_split = artifacts.read_planned(labels), artifacts.read_statistics(local(statistics.uri))
    reference, held = local(schema.uri), f"{local(schema.uri)}/{gate.SCHEMA}"
    against = load_schema(held)
    gate.check_serving(against, plan.run.feature_spec, held)
    data = checks.SpanData(
        by_split,
        artifacts.read_statistics(blessings.read(local(blessing.uri)).facts["statistics"]) if blessing else None,
        json.loads(files.read_text(f"{labels}/{REPORT}")),
        trailing_reports(config.root, plan.span.span),
        [day for day in plan.span.logs if day not in config.missing_days],
        plan.span.judge,
        [
            f"{split} split, {line}"
            for split, split_statistics in by_split.items()
            for line in gate.describe(artifacts.read_anomalies(local(anomalies.uri), split), split_statistics, against)
        ],
    )
    made_from = manifest.fingerprint(manifest.made_from(labels), reference, schedule)
    output = artifacts.record_path(config, plan.span.span, CHECKS)
    lines = run_stage(output, made_from, lambda output: checks.run(data, plan.run, config.checks, output))["anomalies"]
    measured = files.read_text(f"{output}/{checks.MEASUREMENTS}")
    files.write_text(f"{local(measurements.uri)}/{checks.MEASUREMENTS}", measured)
    if lines:
        raise Refused(f"span {plan.span.span}: anomalies in the data, nothing was trained:", lines)


def run_fn(arguments: tfx.components.FnArgs) -> None:
    """Train the candidate and export it; called by TFX's Trainer.

    The Model artifact contains the SavedModel where TFX expects it, and the run's other outputs, which a later span starts
    from.
    """
    labels = str(pathlib.Path(local(arguments.train_files[0])).parent.parent)
    saved_model, plan = pathlib.Path(local(arguments.serving_model_dir)), artifacts.read_planned(labels)
    run = artifacts.LabelledRun(plan.run, str(saved_model.parent), labelled=labels)
    pathlib.Path(run.export(plan.run.model.name)).rename(saved_model)
    lineage = {"model": str(saved_model), "run": run.directory, "labels": labels} | artifacts.span_facts(plan)
    files.write_text(f"{saved_model}/{serving.LINEAGE}", json.dumps(lineage, indent=1) + "\n")


@tfx.dsl.components.component
def infra(
    blessing: _Output[_types.InfraBlessing],
    examples: _Input[_types.Examples],
    model: _Input[_types.Model],
    schedule: _Parameter[str],
):
    """Check the export in a fresh process.

    Args:
        blessing: whether it can serve, and `infra.json`.
        examples: labelled clicks.
        model: the candidate.
        schedule: a `RetrainConfig` as JSON.
    """
    config, labels = RetrainConfig.model_validate_json(schedule), local(examples.uri)
    saved_model = serving_model_dir(local(model.uri))

    def stage(output: str) -> dict:
        checked = dataclasses.asdict(
            check_export(artifacts.read_planned(labels).run, config.infra, labels, saved_model)
        )
        files.write_text(f"{output}/infra.json", json.dumps(checked, indent=1) + "\n")
        files.write_text(f"{output}/{'INFRA_NOT_BLESSED' if checked['reasons'] else 'INFRA_BLESSED'}", "")
        return checked

    made_from = manifest.fingerprint(saved_model, config.infra.model_dump(mode="json"))
    reasons = run_stage(local(blessing.uri), made_from, stage)["reasons"]
    blessing.set_int_custom_property(_IS_BLESSED, int(not reasons))


@tfx.dsl.components.component
def judge(
    evaluation: _Output[_types.ModelEvaluation],
    blessing: _Output[_types.ModelBlessing],
    examples: _Input[_types.Examples],
    statistics: _Input[_types.ExampleStatistics],
    schema: _Input[_types.Schema],
    model: _Input[_types.Model],
    tried: _Input[_types.InfraBlessing],
    schedule: _Parameter[str],
    base: _Input[_types.Model] = None,
):
    """Judge the candidate against the last blessed model, and bless it or record the reasons against it.

    Args:
        evaluation: `judgement.json`, metrics and predictions.
        blessing: the blessing, as TFX's Evaluator writes it, with `reason.json`, whose facts the next span is compared with.
        examples: labelled clicks.
        statistics: their statistics.
        schema: the schema that they were validated against.
        model: the candidate.
        tried: the infra check's blessing: whether the candidate can serve.
        schedule: a `RetrainConfig` as JSON.
        base: the last blessed model.
    """
    config, labels, output = RetrainConfig.model_validate_json(schedule), local(examples.uri), local(blessing.uri)
    plan = artifacts.read_planned(labels)
    versions = {CANDIDATE: serving_model_dir(local(model.uri))}
    if base:
        versions[BLESSED] = serving_model_dir(local(base.uri))
    made_from = manifest.fingerprint(manifest.made_from(labels), versions, config.gates.model_dump(mode="json"))
    judgement = run_stage(
        local(evaluation.uri),
        made_from,
        lambda output: judge_candidate(plan.run, config.gates, labels, versions, output),
    )
    reasons = [*judgement["reasons"], *_infra_reasons(tried)]
    facts = artifacts.span_facts(plan) | {
        "judge": str(plan.span.judge),
        "all": judgement["all"],
        "labels": labels,
        "statistics": local(statistics.uri),
        "schema": local(schema.uri),
    }
    for directory in (output, artifacts.record_path(config, plan.span.span, BLESS)):
        blessings.write(directory, reasons, facts)
    blessing.set_int_custom_property(_IS_BLESSED, int(not reasons))
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)


def _infra_reasons(tried: tfx.dsl.Artifact) -> list[str]:
    if tried.get_int_custom_property(_IS_BLESSED):
        return []
    path = f"{local(tried.uri)}/infra.json"
    return json.loads(files.read_text(path))["reasons"] if files.exists(path) else ["TFX's InfraValidator failed"]
