"""Generates `docs/configuration.md`, the reference of all configuration keys, from the docstrings of the config models.

`python -m pipelines.cli.reference > docs/configuration.md`
"""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import pydantic

from mal_tf.models.config import CONFIGS, ModelConfig, config_class
from pipelines.config.run import RunConfig
from pipelines.retrain.config import RetrainConfig
from pipelines.studies.comparison.config import BenchmarkConfig
from pipelines.studies.grid.config import GridConfig
from pipelines.studies.replay.config import ReplayConfig
from pipelines.studies.simulation.config import MarketConfig

#: For each kind of config file: the heading, the command that reads it, and its model.
_FILES = (
    ("A run", "mal-tf run", RunConfig),
    ("A retraining schedule", "mal-tf retrain", RetrainConfig),
    ("A comparison", "mal-tf benchmark", BenchmarkConfig),
    ("A grid of markets", "mal-tf grid", GridConfig),
    ("A replay", "mal-tf replay", ReplayConfig),
    ("A simulated market", "mal-tf simulate", MarketConfig),
)

_HEAD = """# Configuration

This page is the reference for those who write a config: it lists every key of every YAML file that mal-tf reads, with its
default and meaning. An unknown key is an error. Any key can be overridden on the command line: `--set training.batch_size=256`,
`--set attribution.mechanisms.0.window_hours=24`. The page is generated from the docstrings by
`python -m pipelines.cli.reference`, and a test checks that it is up to date.
"""

_HEADER = ("| key | default | meaning |", "|---|---|---|")

#: A config block: its dotted path in the file, and its model.
_Block = tuple[str, type[pydantic.BaseModel]]


def markdown() -> str:
    """Return the whole reference as Markdown."""
    parts = [_HEAD]
    paths: dict[type, str] = {}
    for title, command, model in _FILES:
        parts.append(f"## {title}\n\nRead by `{command}`.\n")
        for path, block in _blocks("", model, paths):
            parts.append(_section(path, block, paths))
    return "\n".join(parts)


def _blocks(path: str, model: type[pydantic.BaseModel], paths: dict[type, str]) -> Iterator[_Block]:
    """Yield a block and its nested blocks that were not documented before, and add their paths to `paths`."""
    paths[model] = path
    yield path, model
    for name, field in model.model_fields.items():
        for nested in _models(field.annotation):
            if nested not in paths:
                yield from _blocks(f"{path}.{name}".lstrip("."), nested, paths)


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


def _section(path: str, model: type[pydantic.BaseModel], paths: dict[type, str]) -> str:
    descriptions, kind = meanings(model), next(filter(None, map(_discriminator, model.model_fields.values())), "")
    title = f"### `{path}`{f': `{kind}`' if kind else ''}\n\n" if path else ""
    summary = " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())
    lines = [f"{title}{summary}\n", *_HEADER]
    for name, field in model.model_fields.items():
        if _discriminator(field):
            continue
        nested = " or ".join(
            dict.fromkeys(f"`{paths[block]}`" for block in _models(field.annotation) if paths.get(block))
        )
        values = [f"`{value}`" for value in _values(field.annotation)]
        choice = f" One of {', '.join(values)}." if any(value not in descriptions[name] for value in values) else ""
        see = f" See {nested}." if nested and nested != f"`{f'{path}.{name}'.lstrip('.')}`" else ""
        lines.append(
            f"| `{name}` | {_default(field)} | {_cell(_with_paths(descriptions[name], paths) + choice + see)} |"
        )
    if model is ModelConfig:
        lines += ["", "Keys of single models:", "", *_HEADER, *_own_keys()]
    return "\n".join(lines) + "\n"


def _own_keys() -> Iterator[str]:
    """Yield a table row for each key that only some models have."""
    every = config_class(list(CONFIGS))
    descriptions, fields = (
        meanings(every),
        {key: field for own in CONFIGS.values() for key, field in own.model_fields.items()},
    )
    for key in (key for key in fields if key not in ModelConfig.model_fields):
        users = ", ".join(f"`{name}`" for name, own in CONFIGS.items() if key in own.model_fields)
        yield f"| `{key}` | {_default(fields[key])} | {users}: {_cell(descriptions[key])} |"


def _with_paths(text: str, paths: dict[type, str]) -> str:
    """Replace the class names of blocks in a text by their paths in the file."""
    paths_by_name = {f"`{model.__name__}`": f"`{path}`" for model, path in paths.items() if path}
    return re.sub(r"`\w+`", lambda word: paths_by_name.get(word[0], word[0]), text)


def _discriminator(field: pydantic.fields.FieldInfo) -> str:
    """Return the only value that a field allows, such as the discriminator of a union of blocks; empty if there are more."""
    values = _values(field.annotation) if typing.get_origin(field.annotation) is Literal else []
    return values[0] if len(values) == 1 else ""


def _values(annotation: Any) -> list[str]:
    """Return the values of a `Literal` field, also of an optional one; an empty list for other types."""
    arguments = [argument for argument in typing.get_args(annotation) if argument is not types.NoneType]
    if typing.get_origin(annotation) is Literal:
        return list(map(str, arguments))
    return _values(arguments[0]) if len(arguments) == 1 and typing.get_origin(arguments[0]) is Literal else []


def _default(field: pydantic.fields.FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or isinstance(default, pydantic.BaseModel):
        return ""
    return f"`{_cell(_yaml(default))}`"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else '""' if value == "" else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def meanings(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """Return the description of each key from the docstrings of a block and its base classes."""
    descriptions: dict[str, str] = {}
    for base in reversed(model.__mro__):
        body = inspect.cleandoc(vars(base).get("__doc__") or "").partition("\nAttributes:\n")[2]
        for key in re.finditer(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.split(r"\n(?=\S)", body)[0], re.MULTILINE):
            description = " ".join(key[2].split())
            inherited = descriptions.get(key[1], "").rstrip(".")  # Replaces "see `Base`".
            descriptions[key[1]] = re.sub(r"^see `\w+`", inherited.replace("\\", r"\\") or r"\g<0>", description)
    return descriptions


if __name__ == "__main__":
    print(markdown(), end="")
