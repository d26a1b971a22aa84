"""Retraining as a TFX pipeline: run on this machine, or compiled for Kubeflow Pipelines and Vertex AI."""

import pathlib
import sys
from typing import Annotated

import typer
from tfx import v1 as tfx

from features.errors import MalTfError
from pipelines.config.run import RunConfig
from pipelines.core import beam_runner, locks
from pipelines.retrain import blessing, serving, spans
from pipelines.retrain.config import DELAYED, RetrainConfig, load
from pipelines.retrain.planning import BLESS, SPANS, Refused
from pipelines.retrain.tfx import components as tfx_components
from pipelines.retrain.tfx import push

#: Names in the schedule's root of TFX's artifacts and of its ML Metadata.
ARTIFACTS, METADATA = "tfx", "tfx.sqlite"

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)


def build(
    config: RetrainConfig,
    run: RunConfig,
    span: str | tfx.dsl.experimental.RuntimeParameter,
    first: bool,
    pipeline_root: str,
    tensorflow_serving: str = "",
) -> tfx.dsl.Pipeline:
    """Build the pipeline of a span.

    Args:
        config: the schedule.
        run: the config that all spans' runs are derived from.
        span: newest day of the logs, or `yesterday`, in UTC when the pipeline runs.
        first: whether this is the first run, without a model to start from or to be judged against.
        pipeline_root: directory or URI of the artifacts.
        tensorflow_serving: tag of TensorFlow Serving's image that TFX's InfraValidator starts in Docker on this machine. If
            empty, the export is checked in a fresh process instead.

    Raises:
        MalTfError: the schedule uses delayed feedback, which this pipeline does not support.
    """
    if config.immature == DELAYED:
        raise MalTfError(
            f"immature: expected wait or mark, found {config.immature}: the TFX pipeline does not train before windows close; "
            "`mal-tf retrain` does"
        )
    types, components = tfx.types.standard_artifacts, tfx.components
    schedule = config.model_dump_json()
    blessed = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=types.Model),
        model_blessing=tfx.dsl.Channel(type=types.ModelBlessing),
    ).with_id("LatestBlessed")
    base, blessing_of_base = blessed.outputs["model"], blessed.outputs["model_blessing"]
    label = tfx_components.label(
        schedule=schedule,
        run=run.model_dump_json(),
        span=span,
        first=int(first),
        base=base,
        blessing=blessing_of_base,
    )
    examples = label.outputs["examples"]
    statistics_gen = components.StatisticsGen(examples=examples)
    statistics = statistics_gen.outputs["statistics"]
    if run.validation.schema_file:
        schema = components.ImportSchemaGen(schema_file=run.validation.schema_file)
    else:
        schema = tfx_components.schema(examples=examples, statistics=statistics, blessing=blessing_of_base)
    validator = components.ExampleValidator(statistics=statistics, schema=schema.outputs["schema"])
    data = {"examples": examples, "statistics": statistics, "schema": schema.outputs["schema"]}
    check = tfx_components.check(
        **data, anomalies=validator.outputs["anomalies"], schedule=schedule, blessing=blessing_of_base
    )
    trainer = components.Trainer(
        run_fn=f"{tfx_components.__name__}.{tfx_components.run_fn.__name__}",
        examples=examples,
        schema=schema.outputs["schema"],
        base_model=base,
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
    )
    trainer.add_upstream_node(check)
    model = trainer.outputs["model"]
    if tensorflow_serving:
        infra = components.InfraValidator(
            model=model,
            examples=examples,
            serving_spec=tfx.proto.ServingSpec(
                tensorflow_serving=tfx.proto.TensorFlowServing(tags=[tensorflow_serving]),
                local_docker=tfx.proto.LocalDockerConfig(),
            ),
            request_spec=tfx.proto.RequestSpec(
                tensorflow_serving=tfx.proto.TensorFlowServingRequestSpec(), num_examples=config.infra.rows
            ),
        )
    else:
        infra = tfx_components.infra(examples=examples, model=model, schedule=schedule)
    judge = tfx_components.judge(**data, model=model, tried=infra.outputs["blessing"], schedule=schedule, base=base)
    pusher = push.Pusher(
        model=model,
        model_blessing=judge.outputs["blessing"],
        infra_blessing=infra.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=f"{config.root}/{serving.SERVING}")
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=pipeline_root,
        components=[blessed, label, statistics_gen, schema, validator, check, trainer, infra, judge, pusher],
        beam_pipeline_args=[f"--runner={beam_runner.LOCAL_RUNNER}"],
    )


def run_here(
    config: RetrainConfig, run: RunConfig, span: str, first: bool, tensorflow_serving: str = ""
) -> serving.Version:
    """Run the pipeline of a span on this machine with TFX's LocalDagRunner and return the version that was pushed.

    Args:
        config: the schedule.
        run: the config that all spans' runs are derived from.
        span: newest day of the logs; by default yesterday, UTC.
        first: see `build`.
        tensorflow_serving: see `build`.

    Raises:
        Refused: the data or the model does not meet the limits.
        MalTfError: any other error. In all cases the serving model is unchanged.
    """
    (day,) = spans.requested_spans(span, "", "")
    with locks.lock(config.root):
        pipeline = build(config, run, str(day), first, f"{config.root}/{ARTIFACTS}", tensorflow_serving)
        pipeline.metadata_connection_config = tfx.orchestration.metadata.sqlite_metadata_connection_config(
            f"{config.root}/{METADATA}"
        )
        tfx.orchestration.LocalDagRunner().run(pipeline)
    verdict = blessing.read(f"{config.root}/{SPANS}/{day}/{BLESS}")
    if not verdict.blessed:
        raise Refused(f"span {day}: the candidate is not pushed: it is not blessed", verdict.reasons)
    serving.retain(f"{config.root}/{serving.SERVING}", config.keep_versions)
    pushed = serving.current(f"{config.root}/{serving.SERVING}")
    assert pushed is not None  # `retain` keeps at least the newest.
    return pushed


def compile_to(config: RetrainConfig, run: RunConfig, first: bool, pipeline_root: str, image: str, output: str) -> None:
    """Compile the pipeline, with a parameter `span`, for Kubeflow Pipelines and Vertex AI.

    Args:
        config: the schedule. Its root must be a path that all containers see, such as `/gcs/<bucket>/…` on Vertex AI.
        run: the config that all spans' runs are derived from.
        first: see `build`.
        pipeline_root: directory or URI of the artifacts, such as `gs://<bucket>/…`.
        image: container image with mal-tf and TFX.
        output: JSON file to write.

    Raises:
        MalTfError: TFX was installed without Kubeflow Pipelines, as on Python 3.12 and later.
    """
    if not hasattr(tfx.orchestration.experimental, "KubeflowV2DagRunner"):
        raise MalTfError(
            "expected TFX with Kubeflow Pipelines (tfx[kfp]), found it without: the versions of kfp that TFX takes need Python "
            "3.10 or 3.11; compile there"
        )
    span = tfx.dsl.experimental.RuntimeParameter(name="span", ptype=str)
    path = pathlib.Path(output).absolute()
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image=image),
        output_dir=str(path.parent),
        output_filename=path.name,
    )
    runner.run(build(config, run, span, first, pipeline_root), write_out=True)


_Config = Annotated[str, typer.Argument(help="The schedule's YAML file, such as examples/retraining/market.yaml.")]
_First = Annotated[bool, typer.Option("--first", help="No model is blessed yet: judge by floors alone.")]
_Set = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as root=/gcs/bucket/daily.")
]


@app.command("run")
def _run(
    config: _Config,
    span: Annotated[str, typer.Option(help="Newest day of the logs. By default yesterday, in UTC.")] = "",
    first: _First = False,
    tensorflow_serving: Annotated[
        str, typer.Option(help="Tag of TensorFlow Serving's image for TFX's InfraValidator, which starts it in Docker.")
    ] = "",
    set_: _Set = [],  # noqa: B006
):
    """Run the pipeline on this machine."""
    version = run_here(*load(config, set_), span, first, tensorflow_serving)
    print(f"{version.path} serves")


@app.command("compile")
def _compile(
    config: _Config,
    pipeline_root: Annotated[str, typer.Option(help="Directory of the artifacts, such as gs://bucket/tfx.")],
    image: Annotated[str, typer.Option(help="Container image with mal-tf and TFX.")],
    output: Annotated[str, typer.Option(help="JSON file to write.")] = "pipeline.json",
    first: _First = False,
    set_: _Set = [],  # noqa: B006
):
    """Compile the pipeline for Kubeflow Pipelines and Vertex AI."""
    compile_to(*load(config, set_), first, pipeline_root, image, output)
    print(
        f"Wrote {output}. Submit it with the parameter span: the newest day of the logs, or {tfx_components.YESTERDAY}"
    )


def main() -> None:
    """Entry point: a MalTfError is printed without a traceback; exit codes are those of `mal-tf retrain`."""
    try:
        app()
    except MalTfError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
