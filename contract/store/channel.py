"""A channel of the bundle store: a name for a digest, with the history of its moves."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime

from contract.errors import BundleError, ConflictError
from contract.files import canonical_json
from contract.store.place import State

_HISTORY = 100
# A channel with an owner that was never moved; it counts as missing.
RESERVED = canonical_json({"generation": 0, "digest": "", "history": []})


@dataclass(frozen=True)
class Channel:
    """A channel's state; `generation` counts its moves, `history` lists them, the present one last."""

    name: str
    generation: int
    digest: str
    history: tuple[dict[str, str], ...]

    @property
    def previous(self) -> str | None:
        """The newest digest in the history that differs from the present one."""
        return next((entry["digest"] for entry in reversed(self.history) if entry["digest"] != self.digest), None)

    def to_bytes(self) -> bytes:
        """Return the content of the channel's file."""
        state = asdict(self)
        del state["name"]
        return canonical_json(state)

    def moved(self, digest: str, by: str, now: datetime) -> Channel:
        """Return the channel after one more move, whose unique `id` lets its maker recognize it."""
        entry = {"digest": digest, "at": now.isoformat(timespec="seconds"), "by": by, "id": uuid.uuid4().hex}
        return Channel(self.name, self.generation + 1, digest, (*self.history, entry)[-_HISTORY:])


def parsed(name: str, state: State | None) -> Channel | None:
    """Return the channel of a file's content; None if it was never moved."""
    if state is None or state.content == RESERVED:
        return None
    try:
        content = json.loads(state.content)
        return Channel(name, content["generation"], content["digest"], tuple(content["history"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"channels/{name}.json is not a channel's file: {error}") from error


def conflict(channel: str, current: Channel | None) -> ConflictError:
    """Return the error of a move that another one preceded."""
    at = f"at {current.digest[:12]} (move {current.generation})" if current else "gone"
    return ConflictError(f"channel {channel!r} was moved by somebody else and is now {at}; read it and decide again")
