"""All keys of the configuration files, with their defaults and meanings: `docs/configuration.md`, from the docstrings.

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
from pipelines.studies.replay.config import ReplayConfig
from pipelines.studies.simulation.config import MarketConfig

#: Heading of each kind of file, what reads it, and what it is.
_FILES = (
    ("A run", "mal-tf run", RunConfig),
    ("A retraining schedule", "mal-tf retrain", RetrainConfig),
    ("A comparison", "mal-tf benchmark", BenchmarkConfig),
    ("A replay", "mal-tf replay", ReplayConfig),
    ("A simulated market", "mal-tf simulate", MarketConfig),
)

_HEAD = """# Configuration

Every key of every YAML file that mal-tf reads. A key that a block does not know is an error, and any key can be overridden on the
command line: `--set training.batch_size=256`, `--set attribution.mechanisms.0.window_hours=24`. Made from the docstrings by
`python -m pipelines.cli.reference`; a test holds the two together.
"""

_HEADER = ("| key | default | meaning |", "|---|---|---|")

#: A block: where it stands in the file, and the model of it.
_Block = tuple[str, type[pydantic.BaseModel]]


def markdown() -> str:
    """The document."""
    parts = [_HEAD]
    told: dict[type, str] = {}
    for title, command, model in _FILES:
        parts.append(f"## {title}\n\nRead by `{command}`.\n")
        for place, block in _blocks("", model, told):
            parts.append(_section(place, block, told))
    return "\n".join(parts)


def _blocks(place: str, model: type[pydantic.BaseModel], told: dict[type, str]) -> Iterator[_Block]:
    """A block and those within it that were not told of before; adds them to `told`, by their place."""
    told[model] = place
    yield place, model
    for name, field in model.model_fields.items():
        for within in _models(field.annotation):
            if within not in told:
                yield from _blocks(f"{place}.{name}".lstrip("."), within, told)


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


def _section(place: str, model: type[pydantic.BaseModel], told: dict[type, str]) -> str:
    known, kind = meanings(model), next(filter(None, map(_only, model.model_fields.values())), "")
    title = f"### `{place}`{f': `{kind}`' if kind else ''}\n\n" if place else ""
    said = " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())
    lines = [f"{title}{said}\n", *_HEADER]
    for name, field in model.model_fields.items():
        if _only(field):
            continue
        within = " or ".join(dict.fromkeys(f"`{told[of]}`" for of in _models(field.annotation) if told.get(of)))
        values = [f"`{value}`" for value in _values(field.annotation)]
        choice = f" One of {', '.join(values)}." if any(value not in known[name] for value in values) else ""
        see = f" See {within}." if within and within != f"`{f'{place}.{name}'.lstrip('.')}`" else ""
        lines.append(f"| `{name}` | {_default(field)} | {_cell(_placed(known[name], told) + choice + see)} |")
    if model is ModelConfig:
        lines += ["", "Keys of single models:", "", *_HEADER, *_own_keys()]
    return "\n".join(lines) + "\n"


def _own_keys() -> Iterator[str]:
    """A row for each key that some models have and others do not."""
    every = config_class(list(CONFIGS))
    known, fields = meanings(every), {key: field for own in CONFIGS.values() for key, field in own.model_fields.items()}
    for key in (key for key in fields if key not in ModelConfig.model_fields):
        users = ", ".join(f"`{name}`" for name, own in CONFIGS.items() if key in own.model_fields)
        yield f"| `{key}` | {_default(fields[key])} | {users}: {_cell(known[key])} |"


def _placed(text: str, told: dict[type, str]) -> str:
    """With blocks by their place, not by the name of their model."""
    places = {f"`{model.__name__}`": f"`{place}`" for model, place in told.items() if place}
    return re.sub(r"`\w+`", lambda word: places.get(word[0], word[0]), text)


def _only(field: pydantic.fields.FieldInfo) -> str:
    """The value of a field that has but one, which tells kinds of a block apart."""
    values = _values(field.annotation) if typing.get_origin(field.annotation) is Literal else []
    return values[0] if len(values) == 1 else ""


def _values(annotation: Any) -> list[str]:
    """What a field may be, if it is one of some words or nothing."""
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
        return "{" + ", ".join(f"{key}: {_yaml(of)}" for key, of in value.items()) + "}"
    return "null" if value is None else '""' if value == "" else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def meanings(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """What the docstring of a block, or of one that it is made of, says of each key."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        body = inspect.cleandoc(vars(part).get("__doc__") or "").partition("\nAttributes:\n")[2]
        for key in re.finditer(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.split(r"\n(?=\S)", body)[0], re.MULTILINE):
            said = " ".join(key[2].split())
            before = found.get(key[1], "").rstrip(".")  # Of a block that this one is made of, which it refers to.
            found[key[1]] = re.sub(r"^see `\w+`", before.replace("\\", r"\\") or r"\g<0>", said)
    return found


if __name__ == "__main__":
    print(markdown(), end="")
