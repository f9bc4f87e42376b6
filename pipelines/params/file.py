"""Parser of `params.yaml` as DVC reads and rewrites it (YAML 1.2), with errors that name key, value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from contract.errors import ConfigurationError, Problem
from pipelines import paths
from pipelines.params import params
from pipelines.params.judging.evaluate import Slice
from pipelines.params.source import SOURCES
from pipelines.params.train import FAMILIES

FILE_NAME = str(paths.PARAMS)

# Parts of an error's location that lead into one of several models, or into the entries of a mapping or list.
_NESTED: dict[str, Any] = {
    **params.SPLITS,
    **SOURCES,
    **params.FEATURES,
    **FAMILIES,
    "combine": params.Combined,
    "columns": params.Column,
    "expectations": params.Expectation,
    "slices": Slice,
}


def load(path: Path = Path(FILE_NAME)) -> params.Params:
    """Return the parameters of a file.

    Raises:
        ConfigurationError: the file is unreadable or invalid; it names the key, the value and what is allowed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> params.Params:
    """Return the parameters in the text of a file, called `name` in errors; raises as `load` does."""
    try:
        raw = YAML(typ="safe").load(content)
    except YAMLError as error:
        raise ConfigurationError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{name} must be a mapping of keys, such as `name:`")
    if dates := list(_dates(raw, "")):
        raise ConfigurationError(f"{name} contains dates without quotes, which DVC does not support", dates)
    try:
        return params.Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(f"{name} is not valid", [_problem(entry) for entry in error.errors()]) from error


def text(parsed: params.Params) -> bytes:
    """Return a file that parses to the same parameters in the same order; only what was declared is in it, and no prices."""
    stream = BytesIO()
    YAML().dump(parsed.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"costs"}), stream)
    return stream.getvalue()


def _dates(value: Any, key: str) -> Iterator[Problem]:
    if isinstance(value, dict):
        for name, nested in value.items():
            yield from _dates(name, f"{key}.{name}" if key else str(name))
            yield from _dates(nested, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for nested in value:
            yield from _dates(nested, key)
    elif isinstance(value, date):
        yield Problem(None, key, f'write it in quotes: "{value}"')


def _problem(entry: Any) -> Problem:
    location = [str(part) for part in entry["loc"]]
    tags = {*SOURCES, *params.FEATURES, *params.SPLITS, *FAMILIES}
    parent = location[:-1]
    key = ".".join(part for i, part in enumerate(location) if not (part in tags and i and _is_tag(location, i)))
    value = "" if isinstance(entry["input"], (dict, list)) else f" (it is {entry['input']!r})"
    if entry["type"] == "extra_forbidden":
        return Problem(None, key, f"unknown key; allowed are: {', '.join(_allowed_keys(parent))}")
    if entry["type"] == "missing":
        return Problem(None, key, "required, but missing")
    message = re.sub(r"^Value error, ", "", entry["msg"])
    return Problem(None, key or None, f"{message}{value}")


def _is_tag(location: list[str], index: int) -> bool:
    """Return whether this part of an error's location is the tag of a union, and so not a key of the file."""
    before = location[index - 1]
    return (
        before == "source"
        or (index == 2 and location[0] == "features")
        or (index == 1 and before in ("split", "train"))
    )


def _allowed_keys(location: list[str]) -> list[str]:
    """Return the keys of the model at this location of the file."""
    model: Any = params.Params
    for part in location:
        model = _step(model, part)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _step(model: Any, part: str) -> Any:
    if part in _NESTED:
        return _NESTED[part]
    for name, field in getattr(model, "model_fields", {}).items():
        if (field.alias or name) == part:
            return field.annotation if isinstance(field.annotation, type) else model
    return model
