"""Command-line flags of the label job as Beam pipeline options, which is how a Dataflow flex template passes parameters."""

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from features.errors import MalTfError


class LabelOptions(PipelineOptions):
    """Flags of `python -m pipelines.labels.main` beside Beam's own. `deploy/dataflow/metadata.json` must list the same flags."""

    #: Required flags. They are not marked `required` for argparse, since every pipeline of the process parses them too.
    REQUIRED = ("config", "output")

    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument("--config", help="Config file (YAML) of the run, on any filesystem that Beam supports.")
        parser.add_argument("--output", help="Directory for the labels, on any filesystem that Beam supports.")
        parser.add_argument(
            "--set",
            action="append",
            metavar="KEY=VALUE",
            help="Override a key of the config, such as labels.shards=64. Repeat the flag, or separate several pairs by ';' "
            "(a parameter of a template can be given only once).",
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
        """The `KEY=VALUE` pairs of all `--set` flags."""
        return [pair for value in self.set or [] for pair in value.split(";") if pair]

    def check(self) -> None:
        """Checks that the required flags are given.

        Raises:
            MalTfError: a required flag is missing.
        """
        missing = [f"--{name}" for name in self.REQUIRED if not getattr(self, name)]
        if missing:
            raise MalTfError(f"{' and '.join(missing)} missing; see python -m pipelines.labels.main --help")


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found '{text}'")
    return text.lower() == "true"
