"""The fleet of a cluster: the verbs of a fleet of one machine, carried out by the cluster's own controllers.

Every verb changes the record and then calls `_converge`, the only way from one state to another. The record is written first and names the
version that it was read at, so of two commands one is refused before it has changed anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError, ConflictError, UnavailableError
from contract.store.store import Store
from fleet.configuration.changes import Entry
from fleet.configuration.declaration import Trial
from fleet.configuration.state import Bounds
from fleet.kubernetes import filling, manifests, record, rollout
from fleet.kubernetes.api import Api
from fleet.kubernetes.manifests import CANARY, LIVE, Object
from fleet.kubernetes.record import Record
from fleet.store import callers

_DOWN_LIMIT_S, _POLL_S = 120.0, 0.5  # replicas drain within a minute
NOTHING = "nothing is live: `deploy candidate --image NAME@sha256:…`"


class ClusterFleet:
    """The fleet of one cluster.

    Args:
        objects: what an overlay renders.
        tell: gets a line of progress at every step.
        force: take over fields that others have set.
        change: what this command does, for the history; its verb, author and reason.
    """

    def __init__(
        self,
        api: Api,
        store: Store,
        objects: list[Object],
        tell: Callable[[str], None],
        change: Entry,
        *,
        force: bool = False,
    ) -> None:
        self._api, self._store, self._objects, self._tell, self._force = api, store, objects, tell, force
        self._change = change
        self._namespace = manifests.namespace_of(objects)

    def up(self, file: Path | None = None) -> None:
        """Apply everything: namespaces, rights, policies, and what the verbs change; with a file, as that declares."""
        before = self._read()
        wanted = before
        if file is not None:
            declared, text = record.declared_in(file)
            wanted = replace(before, declared=declared, text=text)
            if declared.canary is not None:
                digest = self._store.resolve(declared.canary.bundle)
                wanted = wanted.declaring(canary=replace(declared.canary, bundle=digest))
        self._require_sound(wanted)
        if (channel := self._store.read("live")) and (wanted.live is not None or channel.digest in wanted.images):
            wanted = replace(wanted, live=channel.digest).with_image(channel.digest, None)
        for each in self._objects:
            if each not in manifests.moving(self._objects):
                self._api.apply(each, force=self._force)
        self._converge(before, wanted)

    def deploy(self, reference: str, image: str | None, percent: int | None = None, *, breaking: bool = False) -> None:
        """Serve the bundle of a channel or digest from an image that holds it; with `percent`, as a canary beside the live one.

        The bundle is verified in the store first; a bundle that breaks callers of the live one is rejected unless `breaking` is set.
        """
        before, digest = self._read(), self._store.resolve(reference)
        self._store.path(digest)
        self._check_callers(before, digest, breaking=breaking)
        wanted = before.with_image(digest, image)
        if percent is None:
            self._converge(before, replace(wanted.declaring(canary=None), live=digest), by="fleet deploy")
            return
        if wanted.live in (None, digest):
            raise ConfigurationError(
                f"{digest[:12]} is already live" if wanted.live else "nothing is live: deploy without --canary first"
            )
        self._converge(before, wanted.declaring(canary=Trial(digest, percent)))

    def scale(self, replicas: int | Bounds) -> None:
        """Change the number of replicas of the live bundle, or its bounds."""
        before = self._read()
        self._converge(before, before.declaring(replicas=replicas))

    def promote(self, *, breaking: bool = False) -> None:
        """Make the canary the live bundle; `breaking` as for `deploy`."""
        before = self._read()
        trial = before.declared.canary
        if trial is None:
            raise ConfigurationError("there is no canary to promote; `deploy REF --canary PERCENT` makes one")
        self._check_callers(before, trial.bundle, breaking=breaking)
        self._converge(before, replace(before.declaring(canary=None), live=trial.bundle), by="fleet promote")

    def rollback(self) -> None:
        """Remove the canary; without one, return to the bundle that was live before."""
        before = self._read()
        if before.declared.canary is not None:
            self._converge(before, before.declaring(canary=None))
            return
        channel = self._store.read("live")
        if channel is None or channel.previous is None:
            raise ConfigurationError("no other bundle was live before, so there is nothing to roll back to")
        wanted = replace(before, live=channel.previous).with_image(channel.previous, None)
        self._converge(before, wanted, by="fleet rollback")

    def down(self) -> None:
        """Delete what serves; what is wanted stays recorded, and `up` serves it again. Callers are refused from the first moment on."""
        found = self._read()
        objects = manifests.moving(filling.filled(self._objects, found))
        for kind in ("HTTPRoute", "GRPCRoute", "HorizontalPodAutoscaler", "Deployment"):
            for each in objects:
                if each["kind"] == kind:
                    self._api.delete(kind, self._namespace, each["metadata"]["name"])
        deadline = time.monotonic() + _DOWN_LIMIT_S
        while left := self._replicas(objects):
            if time.monotonic() > deadline:
                raise UnavailableError(f"{len(left)} pods still run {_DOWN_LIMIT_S:g} s after their deletion")
            time.sleep(_POLL_S)
        if found.version:
            self._api.put(found.after(self._about(found, "done")).to_object(self._namespace))

    def history(self) -> tuple[Entry, ...]:
        """Return the newest changes, oldest first."""
        return self._read().history

    def status(self) -> dict[str, Any]:
        """Return what runs and serves, in the form of a fleet of one machine, and the problems in words."""
        found = self._read()
        objects = manifests.moving(filling.filled(self._objects, found))
        channel = self._store.read("live")
        problems = [] if found.live else [NOTHING]
        if channel and found.live and channel.digest != found.live:
            problems.append(f"live is {channel.digest[:12]}, but {found.live[:12]} is served: `up` changes to it")
        for each in objects:
            problems += self._problems(each, found)
        trial = found.declared.canary
        return {
            "ready": not problems,
            "problems": problems,
            "cluster": self._api.host,
            "namespace": self._namespace,
            "size": found.bounds.min,
            "most": found.bounds.max,
            "live": {"digest": found.live, "image": found.images[found.live]} if found.live else None,
            "canary": {"digest": trial.bundle, "percent": trial.weight, "image": found.images.get(trial.bundle)}
            if trial
            else None,
            "replicas": self._replicas(objects),
        }

    def _read(self) -> Record:
        return record.parse(self._api.get("ConfigMap", self._namespace, record.NAME))

    def _check_callers(self, before: Record, digest: str, *, breaking: bool) -> None:
        callers.check(before.live, digest, self._store.path, breaking=breaking)

    def _require_sound(self, wanted: Record) -> None:
        wanted.require_supported()
        trial = wanted.declared.canary
        if trial and wanted.live is None:
            raise ConfigurationError("a canary is declared and nothing is live: deploy a bundle first")
        if trial and trial.bundle == wanted.live:
            raise ConfigurationError(f"{trial.bundle[:12]} is declared as the canary and already live")
        wanted.require_images()

    def _converge(self, before: Record, wanted: Record, by: str | None = None) -> None:
        """Bring the cluster to the wanted record: replicas, then the channel `live`, then the weights, then replicas without requests.

        Args:
            by: who moves the channel; None: it stays.

        Raises:
            UnavailableError: the replicas did not become available; the cluster is as it was.
        """
        self._require_sound(wanted)
        channel = self._store.read("live")
        is_new = not wanted.wants_what(before)
        if is_new:
            wanted = wanted.after(self._about(wanted, "begun", before))
        version = self._api.put(wanted.to_object(self._namespace))["metadata"]["resourceVersion"]
        wanted = replace(wanted, version=version)
        objects = manifests.moving(filling.filled(self._objects, wanted))
        tracks = [each for each in objects if each["kind"] == "Deployment"]
        serving = [each for each in tracks if each["spec"].get("replicas") != 0]
        try:
            # The autoscaler's bounds first: it reads them when the Deployment is made.
            for each in (*(each for each in objects if each["kind"] == "HorizontalPodAutoscaler"), *serving):
                self._api.apply(each, force=self._force)
            for each in serving:
                rollout.wait(self._api, each, each["spec"].get("replicas", wanted.bounds.min), self._tell)
            self._require_unchanged(wanted)
            if by and wanted.live and (channel is None or channel.digest != wanted.live):
                self._store.move("live", wanted.live, expected=channel, by=by)
        except BaseException as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self._put_back(before.after(self._about(wanted, f"failed: {reason}", before)), version)
            raise
        for each in objects:
            if each["kind"] in ("HTTPRoute", "GRPCRoute"):
                self._api.apply(each, force=self._force)
        for each in tracks:
            if each not in serving:
                self._api.apply(each, force=self._force)
        if is_new:
            with suppress(ConflictError):  # another command goes on from here
                self._api.put(wanted.after(self._about(wanted, "done", before)).to_object(self._namespace))

    def _about(self, wanted: Record, verdict: str, before: Record | None = None) -> Entry:
        trials = [each.declared.canary for each in (wanted, before) if each]
        is_of_trial = before is not None and before.live == wanted.live and any(trials) and trials[0] != trials[-1]
        bundle = next((each.bundle for each in trials if each), None) if is_of_trial else wanted.live
        return replace(self._change, bundle=bundle, verdict=verdict)

    def _put_back(self, before: Record, version: str) -> None:
        """Apply the record as it was; replicas of it still serve, since none was taken away before its successor was available."""
        try:
            self._api.put(replace(before, version=version).to_object(self._namespace))
        except ConflictError:
            return  # another command has changed the fleet, and what is there is its own
        self._tell("putting everything back as it was")
        for each in manifests.moving(filling.filled(self._objects, before)):
            self._api.apply(each, force=self._force)

    def _require_unchanged(self, wanted: Record) -> None:
        if self._read().version != wanted.version:
            raise ConflictError("another command changed the fleet meanwhile: look at `status` and repeat")

    def _problems(self, wanted: Object, found: Record) -> list[str]:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        actual = self._api.get(kind, self._namespace, name)
        if actual is None:
            return [f"{kind}/{name} is missing: `up` makes it"]
        if kind == "Deployment":
            least = wanted["spec"].get("replicas", found.bounds.min)
            if _images(actual) != _images(wanted):
                return [f"{kind}/{name} runs another image than was deployed: `up` changes it back"]
            available = actual.get("status", {}).get("availableReplicas", 0)
            return (
                []
                if rollout.is_done(actual, least)
                else [f"{available} replicas of {name} are available, of at least {least}"]
            )
        if kind != "HorizontalPodAutoscaler" and _weights(actual) != _weights(wanted):
            return [f"{kind}/{name} has other weights than were declared: `up` changes them back"]
        return []

    def _replicas(self, objects: list[Object]) -> list[dict[str, Any]]:
        entries = []
        for each in objects:
            if each["kind"] != "Deployment":
                continue
            for pod in self._api.list("Pod", self._namespace, each["spec"]["selector"]["matchLabels"]):
                conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
                entries.append(
                    {
                        "name": pod["metadata"]["name"],
                        "track": CANARY if each is not manifests.one(objects, "Deployment", LIVE) else LIVE,
                        "digest": rollout.digest_of(pod),
                        "state": pod.get("status", {}).get("phase", "Unknown"),
                        "ready": conditions.get("Ready") == "True",
                    }
                )
        return entries


def _images(deployment: Object) -> list[str]:
    template = deployment["spec"]["template"]["spec"]
    return [each["image"] for each in (*template.get("initContainers", []), *template["containers"])]


def _weights(route: Object) -> list[tuple[str, int]]:
    return [
        (each["name"], each.get("weight", 1))
        for rule in route["spec"].get("rules", [])
        for each in rule.get("backendRefs", [])
    ]
