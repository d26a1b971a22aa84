"""Saving and loading the fits of data-driven mechanisms under `attribution/`, which later label jobs can reuse."""

import json
from collections.abc import Iterable, Sequence

from apache_beam.io.filesystems import FileSystems

from features import vocabulary
from features.errors import MalTfError
from mal_tf.attribution.config import AttributionConfig, MechanismConfig
from pipelines.core import files

FOLDER, TYPES = "attribution", "touchpoint.txt"


def made_for(attribution: AttributionConfig, mechanism: MechanismConfig, touchpoint: Sequence[str]) -> dict:
    """Returns the part of the config that a mechanism's fit depends on.

    Args:
        attribution: the `attribution` block of the config.
        mechanism: the mechanism.
        touchpoint: columns of the click table that make the touchpoint type.
    """
    return (
        {"touchpoint_columns": list(touchpoint)}
        | mechanism.model_dump(mode="json", include={"type", "parameters"})
        | {
            "window_hours": mechanism.window_hours or attribution.window_hours,
            **attribution.model_dump(
                mode="json", include={"simultaneous", "reset_after_conversion", "touchpoint", "confounders"}
            ),
        }
    )


def write(output: str, name: str, made_for: dict, fit: dict) -> None:
    """Writes a mechanism's fit with the settings that it was made for; see `made_for`."""
    path = FileSystems.join(output, FOLDER, f"{name}.json")
    files.write_text(path, json.dumps({"made_for": made_for, "fit": fit}, indent=1) + "\n")


def write_types(output: str, types: Iterable[str]) -> None:
    """Writes the touchpoint types that are frequent enough not to be merged into the rare type."""
    files.write_text(FileSystems.join(output, FOLDER, TYPES), vocabulary.write(list(types)))


def read(
    directory: str, attribution: AttributionConfig, touchpoint: Sequence[str]
) -> tuple[dict[str, dict], list[str]]:
    """Reads the fits of an earlier label job.

    Args:
        directory: output directory of the earlier label job.
        attribution: config of this run, which must agree with the one that the fits were made for.
        touchpoint: columns of the click table that make the touchpoint type.

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
        saved, expected = json.loads(files.read_text(path)), made_for(attribution, mechanism, touchpoint)
        for key, value in expected.items():
            if saved["made_for"].get(key) != value:
                raise MalTfError(
                    f"attribution.fit_from: {path} was fitted with {key} = {saved['made_for'].get(key)!r}, but this config "
                    f"has {value!r}; make them agree, or fit anew"
                )
        fits[mechanism.name] = saved["fit"]
    return fits, vocabulary.read(files.read_text(types))
