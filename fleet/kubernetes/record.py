"""What a cluster's fleet should be, kept in the cluster: the ConfigMap `fleet`.

It holds the declaration, `fleet.yaml` as a fleet of one machine reads it, and beside it the live bundle and the images of bundles. Its
`resourceVersion` orders the commands of several operators: whoever has read an older one changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError, UsageError
from contract.files import canonical_json
from fleet.configuration import declaration, declaration_text
from fleet.configuration.changes import Entry
from fleet.configuration.declaration import Declaration, Limits
from fleet.configuration.state import Bounds

NAME = "fleet"
_DECLARATION, _BUNDLES, _HISTORY = "fleet.yaml", "bundles.json", "history.jsonl"
_WHERE = Path(f"configmap/{NAME}") / _DECLARATION  # for messages
_KEPT = 20  # images, for rollbacks
_REMEMBERED = 100  # changes; a ConfigMap has room for some thousand
_PINNED = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}")
_DECLARED = Declaration(limits=Limits(512))
_TEMPLATE = """\
# The fleet of this cluster. `fleet --target kubernetes` edits it; after an edit by hand, `up` brings the cluster there.
replicas: 2
canary: null
limits: {memory_mb: 512}
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A cluster's fleet as it should be.

    Attributes:
        declared: replicas, canary and limits.
        live: digest of the live bundle; None: nothing was ever deployed.
        images: digest -> image that holds the bundle, newest last.
        text: of the declaration as it was read, whose comments are kept.
        version: the `resourceVersion` that it was read at; empty where there was none.
        history: the newest changes, oldest first.
    """

    declared: Declaration = _DECLARED
    live: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    text: str = _TEMPLATE
    version: str = ""
    history: tuple[Entry, ...] = ()

    def wants_what(self, other: Record) -> bool:
        """Tell whether two records want the same, whatever their versions and histories."""
        return replace(self, version="", history=()) == replace(other, version="", history=())

    def declaring(self, **changes: Any) -> Record:
        """Return the record with other values of some keys of the declaration."""
        return replace(self, declared=replace(self.declared, **changes))

    def after(self, entry: Entry) -> Record:
        """Return the record with one more change in its history, in place of the last one if that is the same change, begun."""
        begun = bool(self.history) and replace(self.history[-1], verdict=entry.verdict) == entry
        kept = self.history[:-1] if begun else self.history
        return replace(self, history=(*kept, entry)[-_REMEMBERED:])

    @property
    def bounds(self) -> Bounds:
        """The least and the most replicas of the live bundle."""
        wanted = self.declared.replicas
        return wanted if isinstance(wanted, Bounds) else Bounds(wanted, wanted)

    def with_image(self, digest: str, image: str | None) -> Record:
        """Return the record with the image of a bundle, or check that it knows one.

        Raises:
            ConfigurationError: no image is known.
            UsageError: the image is not named by its digest: what a tag names can change after it was checked.
        """
        if image is None:
            if digest not in self.images:
                raise ConfigurationError(
                    f"no image of {digest[:12]} was deployed before: build one from the bundle, push it, and give --image NAME@sha256:…"
                )
            return self
        if not _PINNED.fullmatch(image):
            raise UsageError(f"--image is {image}; it must end in @sha256: and the image's digest")
        newest_last = {**{key: value for key, value in self.images.items() if key != digest}, digest: image}
        return replace(self, images=dict([*newest_last.items()][-_KEPT:]))

    def require_images(self) -> None:
        """Raise ConfigurationError for a bundle that is to serve and has no image; by hand, a digest is written whole."""
        trial = self.declared.canary
        for digest in (self.live, trial.bundle if trial else None):
            if digest is not None:
                self.with_image(digest, None)

    def require_supported(self) -> None:
        """Raise ConfigurationError for a key of `fleet.yaml` that only a fleet of one machine can fulfil."""
        wanted, trial = self.declared, self.declared.canary
        refused = {
            "shadow": wanted.shadow is not None,
            "sticky: header": wanted.sticky != "none",
            "isolation: none": wanted.isolation == "none",
            "canary.judge: auto": trial is not None and trial.judge != "manual",
        }
        if unsupported := [key for key, is_set in refused.items() if is_set]:
            raise ConfigurationError(f"{_WHERE}: `{unsupported[0]}` is not supported on Kubernetes; delete it")

    def to_object(self, namespace: str) -> dict[str, Any]:
        """Return the ConfigMap."""
        text = declaration_text.rendered(self.declared, self.text.encode(), _WHERE).decode()
        bundles = canonical_json({"live": self.live, "images": dict(self.images)}).decode()
        metadata = {"name": NAME, "namespace": namespace} | ({"resourceVersion": self.version} if self.version else {})
        lines = "".join(f"{json.dumps(asdict(entry), ensure_ascii=False)}\n" for entry in self.history)
        data = {_DECLARATION: text, _BUNDLES: bundles, _HISTORY: lines}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def parse(found: Mapping[str, Any] | None) -> Record:
    """Return the record of a ConfigMap; the default one where there is none.

    Raises:
        ConfigurationError: it is not a record.
    """
    if found is None:
        return Record()
    try:
        text, bundles = found["data"][_DECLARATION], json.loads(found["data"][_BUNDLES])
        version, live, images = found["metadata"]["resourceVersion"], bundles["live"], bundles["images"]
        # An earlier version wrote none.
        history = tuple(Entry(**json.loads(line)) for line in found["data"].get(_HISTORY, "").splitlines())
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"configmap/{NAME} is not a fleet's record ({error!r}): delete it, run `up`, and deploy again"
        ) from error
    found_record = Record(declaration.parse(text.encode(), _WHERE), live, images, text, version, history)
    found_record.require_images()
    return found_record


def declared_in(path: Path) -> tuple[Declaration, str]:
    """Return the declaration of a file of this machine, and its text.

    Raises:
        ConfigurationError: there is no such file, or it is no declaration.
    """
    found = declaration.read(path)
    if found is None:
        raise ConfigurationError(f"{path} is not there; name a fleet.yaml with --file")
    return found[0], found[1].decode()
