"""The months of a run: from the first one in `params.yaml` through the run's own month."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.files import atomic_path

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def span(first: str, last: str) -> list[str]:
    """Return every month from `first` through `last`, such as `2013-01`.

    Raises:
        ConfigurationError: one of them is not a month, or `last` is before `first`.
    """
    start, end = _number(first), _number(last)
    if end < start:
        raise ConfigurationError(f"no months through {last}: the first one in data.months of params.yaml is {first}")
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(start, end + 1)]


def read(path: Path) -> list[str]:
    """Return `data.months` of a `params.yaml`.

    Raises:
        ConfigurationError: there are none.
    """
    return [str(month) for month in _listed(_load(path)[1], path)]


def cut(path: Path, last: str) -> list[str]:
    """Set `data.months` to those from the first listed one through `last`; all else in the file stays, comments too.

    Omitted months between listed ones stay omitted: a hole in the table.

    Raises:
        ConfigurationError: `last` is not a month, is before the first one, or is omitted.
    """
    yaml, document = _load(path)
    listed = _listed(document, path)
    wanted = [month for month in span(str(listed[0]), last) if month in listed or month > str(listed[-1])]
    if wanted[-1] != last:
        raise ConfigurationError(
            f"data.months omits {last}, between {listed[0]} and {listed[-1]}, so there is nothing to do; name a listed month"
        )
    if list(listed) != wanted:
        listed[:] = [type(listed[0])(month) for month in wanted]
        with atomic_path(path) as temporary:
            yaml.dump(document, temporary)
    return wanted


def refuse_unfinished(listed: Sequence[str], now: str | None) -> None:
    """Check that the last month ended before the current month `now`.

    Raises:
        ConfigurationError: it did not.
    """
    if now and _MONTH.fullmatch(listed[-1]) and listed[-1] >= now:
        raise ConfigurationError(
            f"{listed[-1]} is not over (it is {now} now, in UTC), so its partition would be incomplete. End with the previous month, "
            "and remove it from data.months"
        )


def refuse_unlisted(wanted: Sequence[str], listed: Sequence[str]) -> None:
    """Check that months to be collected again are months of the run.

    Raises:
        ConfigurationError: one is not.
    """
    if unknown := [month for month in wanted if month not in listed]:
        raise ConfigurationError(
            f"{', '.join(unknown)} cannot be collected again: the run has the months {listed[0]} to {listed[-1]}; name some of them, "
            "such as 2013-03,2013-04"
        )


def _number(month: str) -> int:
    match = _MONTH.fullmatch(month)
    if match is None:
        raise ConfigurationError(f"{month!r} is not a month; write it like 2013-01")
    return int(match[1]) * 12 + int(match[2]) - 1


def _load(path: Path) -> tuple[Any, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    # Else `key: null` would become `key:`.
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml.width = 100_000  # keep a person's long lines
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        return yaml, yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing; a run needs it in its commit") from None
    except YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # of a value that looks like a date or a number, as 2026-02-30 does
        raise ConfigurationError(f"{path} has a value that cannot be read ({error}); write it in quotes") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path} is nested too deeply") from error


def _listed(document: Any, path: Path) -> Any:
    data = document.get("data") if isinstance(document, dict) else None
    listed = data.get("months") if isinstance(data, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ConfigurationError(f"{path}: data.months must list the months, such as ['2013-01', '2013-02']")
    return listed
