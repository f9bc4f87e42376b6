"""`reference/params.md`: every key of `params.yaml`, from the models that parse it."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.generate.markdown import NOTICE, table
from pipelines.params.params import Params
from pipelines.params.train import FAMILIES
from pipelines.params.types import Model

_INTRODUCTION = """# params.yaml

Everything that is particular to a table stands in `params.yaml`. The file is read once, at the start of every command. An unknown key, a
wrong value or an unknown column stops the command with exit code 78; the message names the key, the value and what is allowed.

Every top-level section but `costs` is required; one with nothing but defaults is `{}`. Write dates in quotes, such as
`"2026-01-31"`: YAML reads an
unquoted one as something other than text, and every command of DVC stops at it. How values of a table are read is in
[Tables](tables.md)."""
_WORDS = {
    str: "text",
    bool: "boolean",
    int: "whole number",
    float: "number",
    types.NoneType: "null",
    Any: "anything",
}
_ENTRY = {dict: ".NAME", tuple: "[]"}
_BOUNDS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


def page() -> str:
    """Return the page."""
    parts = [NOTICE, _INTRODUCTION, "## The file", _keys(Params)]
    for name, field in _fields(Params):
        parts += list(_section(name, field.annotation))
    return "\n\n".join(parts) + "\n"


def with_spaces(text: str) -> str:
    """Return a page with the table of the families' spaces made anew."""
    rows = [
        (f"`{family}`", f"`{name}`", f"{found.low:g} to {found.high:g}", "ratios" if found.log else "differences")
        for family, settings in FAMILIES.items()
        for name, found in settings.space.items()
    ]
    made = table(("family", "setting", "values", "steps by"), rows)
    return re.sub(
        r"(<!-- spaces -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{made}\n\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


def models() -> list[type[Model]]:
    """Return every model that a key of the file is parsed into, each once, in the order of the file."""
    found: list[type[Model]] = []
    waiting: list[type[Model]] = [Params]
    while waiting:
        model = waiting.pop(0)
        if model not in found:
            found.append(model)
            waiting += [each for _, field in _fields(model) for each in _models_in(field.annotation)]
    return found


def _section(key: str, annotation: Any, level: int = 2) -> Iterator[str]:
    """Yield the heading and table of each model below this key, and then the models below those."""
    key += _ENTRY.get(get_origin(annotation), "")
    alternatives = _models_in(annotation)
    for model in alternatives:
        yield f"{'#' * level} {key}{_choice(model) if len(alternatives) > 1 else ''}"
        yield _summary(model)
        yield _keys(model)
    below = {name: field.annotation for model in alternatives for name, field in _fields(model)}
    for name, nested in below.items():
        if _models_in(nested):
            yield from _section(f"{key}.{name}", nested, level + 1)


def _choice(model: type[Model]) -> str:
    """Return the value of the key by which a model is chosen among others, such as `, kind: files`."""
    name, field = next((name, field) for name, field in _fields(model) if name in ("kind", "transform", "family"))
    return f", {name}: {' or '.join(get_args(field.annotation))}"


def _summary(model: type[Model]) -> str:
    return (model.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()


def _keys(model: type[Model]) -> str:
    rows = [(f"`{name}`", _type(field), _default(field), field.description or "") for name, field in _fields(model)]
    rows.sort(key=lambda row: row[0] not in ("`kind`", "`transform`", "`family`"))
    return table(("key", "type", "default", "meaning"), rows)


def _fields(model: type[Model]) -> list[tuple[str, FieldInfo]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "null"
    if isinstance(value, Model):
        return "`{}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(field: FieldInfo) -> str:
    return _words(field.annotation) + _bounds(field.metadata)


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inner[0]) + _bounds(getattr(inner[1], "metadata", inner[1:]))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if models := _models_in(annotation):
        many = {dict: "mapping of names to sections", tuple: "list of sections"}
        return many.get(origin, "section" if len(models) == 1 else "one of several sections")
    if origin in (Union, types.UnionType):
        return " or ".join(_words(part) for part in inner)
    if origin is tuple:
        return f"list of {_words(inner[0])}" if inner[-1] is ... else f"[{', '.join(map(_words, inner))}]"
    if origin is dict:
        return f"mapping of text to {_words(inner[1])}"
    return _WORDS[annotation]


def _bounds(metadata: Any) -> str:
    bounds = [
        f"{sign} {limit:g}"
        for item in metadata
        for name, sign in _BOUNDS
        if (limit := getattr(item, name, None)) is not None
    ]
    return f" ({', '.join(bounds)})" if bounds else ""
