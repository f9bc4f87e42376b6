"""The text of `fleet.yaml`, in which a command changes only the lines of the keys that it changes: comments stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from contract.errors import ConfigurationError, ConflictError
from contract.files import atomic_path, private_directory
from fleet.configuration.declaration import Declaration, Limits, Mirror, Trial, load, parse
from fleet.configuration.state import Bounds

_KEYS = tuple(field.name for field in fields(Declaration))
_COMMENT = re.compile(r"\s#.*$")
_TEMPLATE = """\
# The fleet that is wanted. Edit it, or let `fleet scale`, `deploy`, `promote` and `rollback` do so: within about a second the
# reconciler brings the fleet there, or `fleet status` says why not. Which bundle is live stands in the store.

# Replicas of the live bundle: a number, or {min: 2, max: 8}, and the autoscaler decides between them, by the requests in flight of each
# (2.5 by default; {min: 2, max: 8, in_flight: 1} has more to spare).
replicas: 2
# null, or {bundle: DIGEST, weight: 5, judge: manual}: it gets 5 % of the requests. With `judge: auto` it walks 1, 5, 25, 100 %.
canary: null
# null, or {bundle: DIGEST, percent: 100}: it gets copies of this share of live requests, its answers are compared, and no caller sees them.
shadow: null
# auto, required or none: the sandbox of each replica.
isolation: auto
# Of each replica.
limits: {memory_mb: 1024}
# none, or header: requests with a caller's API key stay on one side of a canary.
sticky: none
"""


def rendered(declaration: Declaration, content: bytes | None, path: Path) -> bytes:
    """Return the text of a declaration: that of `content` with only the lines of changed keys replaced, comments kept.

    Raises:
        ConfigurationError: the content is no declaration, or is written in a way that cannot be edited.
    """
    before, text = parse(content or _TEMPLATE.encode(), path), (content or _TEMPLATE.encode()).decode()
    values = {name: getattr(declaration, name) for name in _KEYS}
    # The new values are checked by themselves, so that no error of theirs is taken for one of the file.
    parse("".join(f"{name}: {_flow(value)}\n" for name, value in values.items()).encode(), path)
    is_done = False
    with suppress(ConfigurationError):
        for name, value in values.items():
            if value != getattr(before, name):
                text = _with_key(text, name, _flow(value), path)
        is_done = parse(text.encode(), path) == declaration
    if not is_done:
        raise ConfigurationError(f"{path} is not written one key a line, so no command can change it: edit it by hand")
    return text.encode()


@contextmanager
def replaced(path: Path, before: bytes | None, after: bytes) -> Iterator[None]:
    """Write a declaration when the block has ended without an error; a full disk is noticed before the block.

    Raises:
        ConflictError: someone has edited the file since it was read as `before`.
    """
    if before == after:
        yield
        return
    # A link is kept: configuration management often places one.
    target = path.resolve()
    if not target.parent.exists():
        private_directory(target.parent)
    with atomic_path(target) as temporary:
        temporary.write_bytes(after)
        if (target.read_bytes() if target.exists() else None) != before:
            raise ConflictError(f"{path} was edited while this command ran; nothing was changed: run it again")
        yield


def _with_key(text: str, name: str, value: str, path: Path) -> str:
    """Return the text with another value of one key. By lines, since ruamel.yaml drops the comments after a mapping that it replaces."""
    document, lines = load(text.encode(), path), text.splitlines()
    if name not in document:
        return "\n".join([*lines, f"{name}: {value}"]) + "\n"
    starts = sorted(document.lc.key(each)[0] for each in document)
    start = document.lc.key(name)[0]
    end = next((line for line in starts if line > start), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    new = f"{name}: {value}"
    if comment := _COMMENT.search(lines[start]):
        new = f"{new.ljust(comment.start())} {comment[0].strip()}"
    return "\n".join([*lines[:start], new, *lines[end:]]) + "\n"


def _flow(value: object) -> str:
    """Return a value as YAML on one line."""
    if value is None:
        return "null"
    if isinstance(value, Mirror) and value == Mirror(value.bundle):
        return _flow(value.bundle)  # a copy of each request, as earlier versions read it
    if isinstance(value, (Bounds, Trial, Mirror, Limits)):
        return "{" + ", ".join(f"{field.name}: {_flow(getattr(value, field.name))}" for field in fields(value)) + "}"
    # Digits alone, or with an `e` between them, would be read as a number.
    return f'"{value}"' if isinstance(value, str) and re.fullmatch(r"[0-9]+(e[0-9]+)?", value) else str(value)
