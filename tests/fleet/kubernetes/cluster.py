"""A cluster's API for tests: kmock's server with what the verbs rely on and kmock lacks, and controllers that act at once.

kmock parses, records, stores and serves; here are server-side apply, versions, label selectors and refusals.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and …/api-concepts/
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import kmock
from aiohttp import web

_VERSIONS = itertools.count(1)
Key = tuple[str, str | None, str]  # plural, namespace, name


@attrs.define(kw_only=True)
class Cluster(kmock.KubernetesScaffold):
    """Attributes: `broken`, images that never become ready; `unknown`, API groups without a definition; `forbidden`, plurals that this
    account may not touch; `owned`, plural -> another manager of what is applied; `at_apply`, name -> what else happens then.
    """

    stored: dict[Key, dict[str, Any]] = attrs.field(factory=dict, init=False)
    applied: list[tuple[str, str]] = attrs.field(factory=list, init=False)
    broken: set[str] = attrs.field(factory=set, init=False)
    unknown: set[str] = attrs.field(factory=set, init=False)
    forbidden: set[str] = attrs.field(factory=set, init=False)
    owned: dict[str, str] = attrs.field(factory=dict, init=False)
    at_apply: dict[str, Callable[[], None]] = attrs.field(factory=dict, init=False)

    async def _handle(self, request: kmock.Request) -> web.StreamResponse:
        resource = request.resource
        if resource is None:
            return await super()._handle(request)
        if resource.group in self.unknown:
            return web.Response(status=404, text="404 page not found\n")
        plural = str(resource.plural or "namespaces")  # kmock sees no kind in /api/v1/namespaces/NAME
        if plural in self.forbidden:
            message = f'{plural} is forbidden: User "dev" cannot {request.method.value.lower()} resource "{plural}"'
            raise kmock.KubernetesError(status=403, reason="Forbidden", message=message)
        if request.method == "GET" and request.name is None:
            return web.json_response({"items": self._selected(request)})
        if request.method == "GET":
            found = self.stored.get((plural, request.namespace, request.name))
            if found is None:
                message = f'{plural} "{request.name}" not found'
                raise kmock.KubernetesError(status=404, reason="NotFound", message=message, details={"kind": plural})
            return web.json_response(found)
        if request.method == "DELETE":
            return web.json_response(self._deleted(plural, request))
        return web.json_response(self._changed(request, plural))

    def _deleted(self, plural: str, request: kmock.Request) -> dict[str, Any]:
        name = str(request.name)
        if self.stored.pop((plural, request.namespace, name), None) is None:
            message = f'{plural} "{name}" not found'
            raise kmock.KubernetesError(status=404, reason="NotFound", message=message, details={"kind": plural})
        if plural == "deployments":  # the garbage collector's work
            for key in [key for key in self.stored if key[0] == "pods" and key[2].startswith(f"{name}-")]:
                del self.stored[key]
        self.applied.append((plural, name))
        return {"kind": "Status", "status": "Success"}

    def _selected(self, request: kmock.Request) -> list[dict[str, Any]]:
        wanted = dict(each.split("=") for each in request.params.get("labelSelector", "").split(",") if each)
        where = (str(request.resource and request.resource.plural), request.namespace)
        found = [each for key, each in self.stored.items() if key[:2] == where]
        return [each for each in found if wanted.items() <= each["metadata"].get("labels", {}).items()]

    def _changed(self, request: kmock.Request, plural: str) -> dict[str, Any]:
        given = request.data
        name, namespace = given["metadata"]["name"], given["metadata"].get("namespace")
        if namespace and ("namespaces", None, namespace) not in self.stored:
            message = f'namespaces "{namespace}" not found'
            raise kmock.KubernetesError(status=404, reason="NotFound", message=message, details={"kind": "namespaces"})
        before = self.stored.get((plural, namespace, name))
        if request.method == "PATCH":
            self._check_apply(request, plural, given)
        elif request.method == "POST" and before is not None:
            raise kmock.KubernetesError(status=409, reason="AlreadyExists", message=f"{name} already exists")
        elif request.method == "PUT" and (
            before is None or given["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]
        ):
            message = f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified'
            raise kmock.KubernetesError(status=409, reason="Conflict", message=message)
        after = _merged(before or {}, given) if request.method == "PATCH" else copy.deepcopy(given)
        if after != before:
            after["metadata"]["resourceVersion"] = str(next(_VERSIONS))
            if (before or {}).get("spec") != after.get("spec"):
                after["metadata"]["generation"] = after["metadata"].get("generation", 0) + 1
            self.stored[plural, namespace, name] = after
        self.applied.append((plural, name))
        if after["kind"] in ("Deployment", "HorizontalPodAutoscaler"):
            self._reconcile(namespace)
        if hook := self.at_apply.pop(name, None):
            hook()
        return after

    def _check_apply(self, request: kmock.Request, plural: str, given: dict[str, Any]) -> None:
        if request.headers["Content-Type"] != "application/apply-patch+yaml" or not request.params.get("fieldManager"):
            raise kmock.KubernetesError(status=415, reason="UnsupportedMediaType", message="server-side apply only")
        if plural in self.owned and request.params.get("force") != "true":
            message = f'Apply failed with 1 conflict: conflict with "{self.owned[plural]}" using {given["apiVersion"]}: .spec.replicas'
            raise kmock.KubernetesError(status=409, reason="Conflict", message=message)

    def _reconcile(self, namespace: str) -> None:
        """Do what the cluster's controllers do: the autoscaler keeps to its bounds, Deployments make pods."""
        for (plural, *_), each in self.stored.items():
            target = self.stored.get(
                ("deployments", namespace, each.get("spec", {}).get("scaleTargetRef", {}).get("name", ""))
            )
            if plural == "horizontalpodautoscalers" and target is not None:
                bounds = each["spec"]
                wanted = min(max(target["spec"].get("replicas", 1), bounds["minReplicas"]), bounds["maxReplicas"])
                target["spec"]["replicas"] = wanted
        for (plural, _, name), each in list(self.stored.items()):
            if plural == "deployments":
                self._roll_out(namespace, name, each)

    def _roll_out(self, namespace: str, name: str, deployment: dict[str, Any]) -> None:
        replicas = deployment["spec"].setdefault("replicas", 1)
        template = deployment["spec"]["template"]
        image = template["spec"]["containers"][0]["image"]
        is_broken = image in self.broken and replicas > 0
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas + is_broken,
            "updatedReplicas": 1 if is_broken else replicas,
            "availableReplicas": replicas,
            "conditions": [
                {"type": "Progressing", "reason": "ProgressDeadlineExceeded" if is_broken else "NewReplicaSetAvailable"}
            ],
        }
        if is_broken:  # the old pods stay
            waiting = {"waiting": {"reason": "ImagePullBackOff", "message": f"cannot pull {image}"}}
            self._start(namespace, f"{name}-broken", template, waiting)
            return
        pods = [key for key in self.stored if key[0] == "pods" and key[2].startswith(f"{name}-")]
        for key in pods:
            del self.stored[key]
        for number in range(replicas):
            self._start(namespace, f"{name}-{number}", template, {"running": {}})

    def _start(self, namespace: str, name: str, template: dict[str, Any], state: dict[str, Any]) -> None:
        is_ready = "running" in state
        self.stored["pods", namespace, name] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": name, "namespace": namespace},
            "status": {
                "phase": "Running" if is_ready else "Pending",
                "conditions": [{"type": "Ready", "status": str(is_ready)}],
                "containerStatuses": [{"name": "server", "state": state}],
            },
        }

    def one(self, plural: str, name: str) -> dict[str, Any]:
        """An object of the serving plane."""
        return self.stored[plural, "bulkhead-serving", name]


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(old)
    for key, value in new.items():
        is_map = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if is_map else copy.deepcopy(value)
    return merged


@contextmanager
def running(directory: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster, and the kubeconfig of it."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    made: list[tuple[Cluster, str]] = []

    async def serve() -> None:
        async with Cluster() as cluster, kmock.Server(cluster) as server:
            made.append((cluster, str(server.url).rstrip("/")))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        cluster, url = made[0]
        yield cluster, kubeconfig(directory, url)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def kubeconfig(directory: Path, url: str) -> Path:
    """Write a kubeconfig that names one cluster."""
    path = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "dev", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "dev"}}],
    }
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return path
