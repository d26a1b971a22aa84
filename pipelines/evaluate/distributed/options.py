"""The evaluation job's own flags, as Beam pipeline options, beside those that it shares with the label job."""

from collections.abc import Mapping

from apache_beam.options.pipeline_options import PipelineOptions

from features.errors import MalTfError
from pipelines.clicks.predict import by_name
from pipelines.labels.options import LabelOptions


class EvaluationOptions(PipelineOptions):
    """Flags of `python -m pipelines.evaluate.distributed.main`, beside `LabelOptions` and Beam's own."""

    @classmethod
    def _add_argparse_args(cls, parser):
        # Not --labels: Beam's own, of Dataflow jobs.
        parser.add_argument("--labelled", help="Directory of the finished label job whose clicks are evaluated.")
        parser.add_argument(
            "--model",
            action="append",
            metavar="NAME=SAVED_MODEL_DIR",
            help="A version directory of an export, by the model's name. Give it several times for several models.",
        )
        parser.add_argument("--split", default="eval", choices=("eval", "train"), help="Which clicks.")
        parser.add_argument("--trained", default="", help="The label job that the models were trained on, if another.")
        parser.add_argument(
            "--shards", type=int, help="How many parts the users are split into; see the documentation."
        )

    @property
    def versions(self) -> Mapping[str, str]:
        """Directories of SavedModels by model name.

        Raises:
            MalTfError: a model is given otherwise than as `NAME=SAVED_MODEL_DIR`, or a name twice.
        """
        return by_name(self.model or ())

    def check(self) -> None:
        """Checks that the required flags are there.

        Raises:
            MalTfError: one is not.
        """
        shared = self.view_as(LabelOptions)
        given = {"config": shared.config, "output": shared.output, "labelled": self.labelled, "model": self.model}
        if missing := [f"--{name}" for name, value in given.items() if not value]:
            raise MalTfError(
                f"{' and '.join(missing)} missing; see python -m pipelines.evaluate.distributed.main --help"
            )
