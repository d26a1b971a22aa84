"""The evaluation job's command-line flags, as Beam pipeline options."""

from collections.abc import Mapping

from apache_beam.options.pipeline_options import PipelineOptions

from features.errors import MalTfError
from pipelines.clicks.predict import parse_models
from pipelines.labels.options import LabelOptions


class EvaluationOptions(PipelineOptions):
    """Flags of `python -m pipelines.evaluate.distributed.main`, in addition to `LabelOptions` and Beam's own."""

    @classmethod
    def _add_argparse_args(cls, parser):
        # Not --labels, which is Beam's flag for the labels of Dataflow jobs.
        parser.add_argument("--labelled", help="Directory of the finished label job whose clicks are evaluated.")
        parser.add_argument(
            "--model",
            action="append",
            metavar="NAME=SAVED_MODEL_DIR",
            help="Name of a model and a version directory of its export. Repeat the flag for several models.",
        )
        parser.add_argument(
            "--split", default="eval", choices=("eval", "train"), help="Split whose clicks are evaluated."
        )
        parser.add_argument(
            "--trained", default="", help="Directory of the label job that the models were trained on, if another."
        )
        parser.add_argument(
            "--shards",
            type=int,
            help="Number of parts that the users are split into. By default one per 262,144 clicks.",
        )

    @property
    def versions(self) -> Mapping[str, str]:
        """Directory of the SavedModel by model name.

        Raises:
            MalTfError: a `--model` is not of the form `NAME=SAVED_MODEL_DIR`, or a name is given twice.
        """
        return parse_models(self.model or ())

    def check(self) -> None:
        """Check that all required flags are given.

        Raises:
            MalTfError: a flag is missing.
        """
        shared = self.view_as(LabelOptions)
        given = {"config": shared.config, "output": shared.output, "labelled": self.labelled, "model": self.model}
        if missing := [f"--{name}" for name, value in given.items() if not value]:
            raise MalTfError(
                f"{' and '.join(missing)} missing; see python -m pipelines.evaluate.distributed.main --help"
            )
