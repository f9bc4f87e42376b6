"""`fleet.yaml`: the fleet that is wanted. People edit it, the verbs do, and the reconciler brings the fleet there.

The live bundle is not in it: that is the channel `live` of the store, which several fleets may share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from contract.errors import ConfigurationError
from fleet.configuration.state import IN_FLIGHT, Bounds, Canary, State

MOST_REPLICAS = 64
JUDGES = ("manual", "auto")
ISOLATIONS = ("auto", "required", "none")
STICKINESS = ("none", "header")
_LEAST_MB, _MOST_MB = 64, 1 << 20
_MOST_IN_FLIGHT = 100
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Trial:
    """The canary that is wanted: a digest, or its first eight characters or more, and its share of the requests in percent."""

    bundle: str
    weight: int
    judge: str = "manual"


@dataclass(frozen=True, slots=True)
class Mirror:
    """The shadow that is wanted: a digest, or its first eight characters or more, and the percent of the requests that are copied."""

    bundle: str
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one replica."""

    memory_mb: int = 1024


@dataclass(frozen=True, slots=True)
class Declaration:
    """A fleet as `fleet.yaml` wants it; every key has a default."""

    replicas: int | Bounds = 2
    canary: Trial | None = None
    shadow: Mirror | None = None
    isolation: str = "auto"
    limits: Limits = Limits()
    sticky: str = "none"

    @classmethod
    def of(cls, state: State) -> Declaration:
        """Return the declaration of which a state is the fulfilment."""
        canary = state.canary
        return cls(
            replicas=state.bounds or state.size,
            canary=Trial(canary.digest, canary.percent, canary.judge) if canary else None,
            shadow=Mirror(state.shadow, state.mirror_percent) if state.shadow else None,
            isolation=state.isolation,
            limits=Limits(state.memory_mb),
            sticky=state.sticky,
        )

    def applied(self, state: State, digest_of: Callable[[str], str]) -> State:
        """Return the state that is wanted where the fleet is in `state`.

        Args:
            digest_of: returns the digest that a reference names.
        """
        bounds = self.replicas if isinstance(self.replicas, Bounds) else None
        size = min(max(state.size, bounds.min), bounds.max) if bounds else int(str(self.replicas))
        trial, shadow = self.canary, self.shadow
        return replace(
            state,
            size=size,
            bounds=bounds,
            canary=Canary(digest_of(trial.bundle), trial.weight, trial.judge) if trial else None,
            shadow=digest_of(shadow.bundle) if shadow else None,
            mirror_percent=shadow.percent if shadow else 100,
            isolation=self.isolation,
            memory_mb=self.limits.memory_mb,
            sticky=self.sticky,
        )

    def is_fulfilled_by(self, state: State) -> bool:
        """Tell whether nothing of a state need change; without asking the store for what a digest's first characters mean."""
        known = [state.canary.digest] if state.canary else []
        known += [state.shadow] if state.shadow else []

        def digest_of(reference: str) -> str:
            """Return the known digest that begins so."""
            return next((digest for digest in known if digest.startswith(reference)), reference)

        return self.applied(state, digest_of) == state


def read(path: Path) -> tuple[Declaration, bytes] | None:
    """Return the declaration of a file with the bytes that it was read from; None where there is no file.

    Raises:
        ConfigurationError: the file is unreadable, or a key or a value is wrong; in one line, with the remedy.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}): correct its owner, mode or path"
        ) from error
    return parse(content, path), content


def parse(content: bytes, path: Path) -> Declaration:
    """Return the declaration of a file's content; raises as `read` does."""
    document = load(content, path)
    _refuse_unknown(document, _names(Declaration), "", path)
    given = {name: _READERS[name](value, path) for name, value in document.items()}
    return Declaration(**given)


def load(content: bytes, path: Path) -> CommentedMap:
    """Return a file's content as keys with their places; raises as `read` does."""
    try:
        document = YAML().load(content.decode())
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigurationError(f"{path}{where} is not YAML: {what}; correct it") from error
    if not isinstance(document, CommentedMap):
        example = "give one key a line, such as `replicas: 2`"
        raise ConfigurationError(f"{path} has no keys: {example}, or delete it for one like what runs")
    return document


def _replicas(value: Any, path: Path) -> int | Bounds:
    if not isinstance(value, dict):
        return _whole("replicas", value, 1, MOST_REPLICAS, path)
    _refuse_unknown(value, _names(Bounds), "replicas.", path)
    _require(value, ("min", "max"), "replicas", path)
    least, most = (_whole(f"replicas.{name}", value[name], 1, MOST_REPLICAS, path) for name in ("min", "max"))
    if least > most:
        raise ConfigurationError(f"{path}: replicas.min is {least} and replicas.max {most}: min must not be above max")
    return Bounds(least, most, _in_flight(value.get("in_flight", IN_FLIGHT), path))


def _in_flight(value: Any, path: Path) -> float:
    # More than a replica ever gets (Envoy's limit) would never start one.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= _MOST_IN_FLIGHT:
        raise ConfigurationError(
            f"{path}: replicas.in_flight is {value!r}; it must be a number above 0, {_MOST_IN_FLIGHT} at most"
        )
    return float(value)


def _canary(value: Any, path: Path) -> Trial | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{path}: canary is {value!r}; it must be null or {{bundle: DIGEST, weight: 5, judge: manual}}"
        )
    _refuse_unknown(value, _names(Trial), "canary.", path)
    _require(value, ("bundle", "weight"), "canary", path)
    return Trial(
        _digest("canary.bundle", value["bundle"], path),
        _whole("canary.weight", value["weight"], 1, 99, path),
        _one_of("canary.judge", value.get("judge", "manual"), JUDGES, path),
    )


def _limits(value: Any, path: Path) -> Limits:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: limits is {value!r}; it must be a mapping such as {{memory_mb: 1024}}")
    _refuse_unknown(value, _names(Limits), "limits.", path)
    return Limits(_whole("limits.memory_mb", value.get("memory_mb", Limits().memory_mb), _LEAST_MB, _MOST_MB, path))


def _shadow(value: Any, path: Path) -> Mirror | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return Mirror(_digest("shadow", value, path))
    _refuse_unknown(value, _names(Mirror), "shadow.", path)
    _require(value, ("bundle",), "shadow", path)
    return Mirror(
        _digest("shadow.bundle", value["bundle"], path),
        _whole("shadow.percent", value.get("percent", 100), 1, 100, path),
    )


def _digest(key: str, value: Any, path: Path) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        text = "the digest of a bundle, or its first eight characters or more"
        quoted = ", in quotes where YAML reads a number, as of 1234e567" if isinstance(value, (int, float)) else ""
        raise ConfigurationError(f"{path}: {key} is {value!r}; it must be {text}{quoted}")
    return value


def _whole(key: str, value: Any, least: int, most: int, path: Path) -> int:
    # In Python `true` is an integer, too.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"{path}: {key} is {value!r}; it must be a whole number, {least} to {most}")
    return int(value)


def _one_of(key: str, value: Any, choices: tuple[str, ...], path: Path) -> str:
    if value not in choices:
        raise ConfigurationError(f"{path}: {key} is {value!r}; it must be one of {', '.join(choices)}")
    return str(value)


def _refuse_unknown(given: Mapping[Any, Any], known: tuple[str, ...], prefix: str, path: Path) -> None:
    if unknown := [str(name) for name in given if name not in known]:
        there_are = ", ".join(f"{prefix}{name}" for name in known)
        raise ConfigurationError(
            f"{path}: there is no key {prefix}{unknown[0]}; correct or delete it. There are {there_are}"
        )


def _require(given: Mapping[Any, Any], needed: tuple[str, ...], key: str, path: Path) -> None:
    if missing := [name for name in needed if name not in given]:
        raise ConfigurationError(f"{path}: {key}.{missing[0]} is missing; add it")


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_READERS: Mapping[str, Callable[[Any, Path], Any]] = {
    "replicas": _replicas,
    "canary": _canary,
    "shadow": _shadow,
    "isolation": lambda value, path: _one_of("isolation", value, ISOLATIONS, path),
    "limits": _limits,
    "sticky": lambda value, path: _one_of("sticky", value, STICKINESS, path),
}
