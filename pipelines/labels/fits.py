"""Saving and loading the fits of data-driven mechanisms under `attribution/`, which later label jobs can reuse."""

import json
from collections.abc import Iterable

from apache_beam.io.filesystems import FileSystems

from features import vocabulary
from features.errors import MalTfError
from features.time_units import SECONDS_PER_HOUR
from mal_tf.attribution.config import AttributionConfig, MechanismConfig
from pipelines.core import files
from pipelines.labels.sources.tables import SourceTables

FOLDER, TYPES = "attribution", "touchpoint.txt"


def made_for(attribution: AttributionConfig, mechanism: MechanismConfig, sources: SourceTables) -> dict:
    """Returns the part of the config that a mechanism's fit depends on.

    Args:
        attribution: the `attribution` block of the config.
        mechanism: the mechanism.
        sources: the tables, whose `touchpoint` columns make the touchpoint type.
    """
    names = () if mechanism.clicks_only else sources.context_names
    windows = attribution.mechanism_rules(1, names)[mechanism.name].context
    context = [
        {
            "name": source.name,
            "touchpoint_columns": list(source.columns.touchpoint),
            "window_hours": window / SECONDS_PER_HOUR,
        }
        for source, window in zip(sources.context, windows, strict=False)
    ]
    return (
        {"touchpoint_columns": list(sources.clicks.columns.touchpoint)}
        | mechanism.model_dump(mode="json", include={"type", "parameters"})
        | {
            "window_hours": mechanism.window_hours or attribution.window_hours,
            **attribution.model_dump(
                mode="json", include={"simultaneous", "reset_after_conversion", "touchpoint", "confounders"}
            ),
        }
        | ({"context": context} if context else {})
    )


def write(output: str, name: str, made_for: dict, fit: dict) -> None:
    """Writes a mechanism's fit with the settings that it was made for; see `made_for`."""
    path = FileSystems.join(output, FOLDER, f"{name}.json")
    files.write_text(path, json.dumps({"made_for": made_for, "fit": fit}, indent=1) + "\n")


def write_types(output: str, types: Iterable[str]) -> None:
    """Writes the touchpoint types that are frequent enough not to be merged into the rare type."""
    files.write_text(FileSystems.join(output, FOLDER, TYPES), vocabulary.write(list(types)))


def read(directory: str, attribution: AttributionConfig, sources: SourceTables) -> tuple[dict[str, dict], list[str]]:
    """Reads the fits of an earlier label job.

    Args:
        directory: output directory of the earlier label job.
        attribution: config of this run, which must agree with the one that the fits were made for.
        sources: the tables, whose `touchpoint` columns make the touchpoint type.

    Returns:
        Fits by mechanism, and the touchpoint types.

    Raises:
        MalTfError: a fit is missing, or was made for other settings.
    """
    fits: dict[str, dict] = {}
    if not attribution.data_driven:
        return fits, []
    types = FileSystems.join(directory, FOLDER, TYPES)
    if not files.exists(types):
        raise MalTfError(
            f"attribution.fit_from: {types} is missing; set it to the output of a label job that fitted mechanisms"
        )
    for mechanism in attribution.data_driven:
        path = FileSystems.join(directory, FOLDER, f"{mechanism.name}.json")
        if not files.exists(path):
            raise MalTfError(
                f"attribution.fit_from: {path} is missing, so there is no fit of mechanism '{mechanism.name}'. "
                "Set it to the output directory of a label job that has one, or remove it to fit anew."
            )
        saved, expected = json.loads(files.read_text(path)), made_for(attribution, mechanism, sources)
        for key, value in ({"context": None} | expected).items():
            if saved["made_for"].get(key) != value:
                raise MalTfError(
                    f"attribution.fit_from: {path} was fitted with {key} = {saved['made_for'].get(key)!r}, but this config "
                    f"has {value!r}; make them agree, or fit anew"
                )
        fits[mechanism.name] = saved["fit"]
    return fits, vocabulary.read(files.read_text(types))
