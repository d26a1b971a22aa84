"""The label job's own flags, as Beam pipeline options: a Dataflow flex template passes its parameters as such."""

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from features.errors import MalTfError


class LabelOptions(PipelineOptions):
    """Flags of `python -m pipelines.labels.main`, beside Beam's own; `deploy/dataflow/metadata.json` describes them too."""

    #: Flags that must be given. Not argparse's `required`: every pipeline of the process parses these flags as well.
    REQUIRED = ("config", "output")

    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument("--config", help="The run's YAML file, on any filesystem Beam knows.")
        parser.add_argument("--output", help="Directory for the labels, on any filesystem Beam knows.")
        parser.add_argument(
            "--set",
            action="append",
            metavar="KEY=VALUE",
            help="Override a key of the config, such as labels.shards=64. Give it several times, or several pairs with ';' "
            "between them (a template's parameter can be given only once).",
        )
        parser.add_argument(
            "--overwrite",
            nargs="?",
            const=True,
            default=False,
            type=_boolean,
            metavar="true|false",
            help="Replace a finished output.",
        )

    @property
    def overrides(self) -> list[str]:
        """The `KEY=VALUE` pairs of `--set`, one by one."""
        return [pair for value in self.set or [] for pair in value.split(";") if pair]

    def check(self) -> None:
        """Checks that the required flags are there.

        Raises:
            MalTfError: one is not.
        """
        missing = [f"--{name}" for name in self.REQUIRED if not getattr(self, name)]
        if missing:
            raise MalTfError(f"{' and '.join(missing)} missing; see python -m pipelines.labels.main --help")


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found '{text}'")
    return text.lower() == "true"
