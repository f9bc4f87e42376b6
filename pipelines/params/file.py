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
from pipelines.params.judging.staleness import Staleness
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
    "staleness": Staleness,
}

# Pydantic's words are Python's types; a person writes YAML.
_MAPPING = "must be a mapping of keys, such as {key: value}"
_SAID = {
    "tuple_type": "must be a list, such as [a, b]",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "string_type": "must be text; write numbers, true, false and null in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_QUOTES = "'"
_BRANCH = re.compile(
    r"(literal|tuple|dict|constrained-str|function-\w+)\[.*\]"
).fullmatch  # of a union, in an error's location


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
        dates = list(_dates(raw, ""))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}," if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigurationError(f"{name}{where} is not YAML: {what}; correct it") from error
    except ValueError as error:  # of a value that looks like a date or a number, as 2026-02-30 does
        raise ConfigurationError(f"{name} has a value that cannot be read ({error}); write it in quotes") from error
    except RecursionError as error:
        raise ConfigurationError(f"{name} is nested too deeply, or refers to itself") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{name} must be a mapping of keys, such as `name:`")
    if dates:
        raise ConfigurationError(f"{name} contains dates without quotes, which DVC does not support", dates)
    try:
        return params.Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(f"{name} is not valid", list(_problems(error))) from error


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


def _problems(error: ValidationError) -> Iterator[Problem]:
    """Yield the problems; a list that lacks only what is wrong itself is not too short besides."""
    entries = error.errors()
    for entry in entries:
        place = entry["loc"]
        if entry["type"] != "too_short" or not any(
            other["loc"][: len(place)] == place != other["loc"] for other in entries
        ):
            yield _problem(entry)


def _problem(entry: Any) -> Problem:
    location = [str(part) for part in entry["loc"]]
    if location[-1:] == ["[key]"]:  # pydantic's mark for the name of an entry
        location = location[:-2]
    location = [part for part in location if not _BRANCH(part)]
    tags = {*SOURCES, *params.FEATURES, *params.SPLITS, *FAMILIES}
    parent = location[:-1]
    key = ".".join(part for i, part in enumerate(location) if not (part in tags and i and _is_tag(location, i)))
    value = "" if isinstance(entry["input"], (dict, list)) else f" (it is {_shown(entry['input'])})"
    if entry["type"] == "extra_forbidden":
        return Problem(None, key, f"unknown key; allowed are: {', '.join(_allowed_keys(parent))}")
    if entry["type"] == "missing":
        return Problem(None, key, "required, but missing")
    if entry["type"] == "union_tag_not_found":
        return Problem(None, f"{key}.{entry['ctx']['discriminator'].strip(_QUOTES)}", "required, but missing")
    if entry["type"] == "union_tag_invalid":
        found = entry["ctx"]
        return Problem(
            None,
            key,
            f"{found['discriminator'].strip(_QUOTES)} {found['tag']!r} is unknown; allowed are: {found['expected_tags']}",
        )
    message = _SAID.get(entry["type"], re.sub(r"^Value error, ", "", entry["msg"]))
    if "a name has" in message and location in (["data", "columns"], ["target", "column"]):
        message += "; write such a name here, and the source's in data.source.rename"
    if entry["type"].startswith("greater_than") and location[-1].endswith("_margin"):
        message += "; a margin is a loss that is allowed, written without a minus sign"
    return Problem(None, key or None, f"{message}{value}")


def _shown(value: Any) -> str:
    """Return a value as YAML has it."""
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )


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
