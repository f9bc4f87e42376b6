"""A cluster's API, through the official client: reads, server-side apply, and errors in the project's words.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

from contract.errors import BulkheadError, ConfigurationError, ConflictError, UnavailableError

MANAGER = "bulkhead"
_REQUEST_LIMIT_S = 30
# By kind: the path of its group and version, and its name in paths. Discovery would be dozens of requests and a cache in /tmp.
_PATHS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "GRPCRoute": ("apis/gateway.networking.k8s.io/v1", "grpcroutes"),
    "Gateway": ("apis/gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Namespace": ("api/v1", "namespaces"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "PriorityClass": ("apis/scheduling.k8s.io/v1", "priorityclasses"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "ServiceMonitor": ("apis/monitoring.coreos.com/v1", "servicemonitors"),
}
_OF_THE_CLUSTER = ("Namespace", "PriorityClass")


class Api:
    """The API of one cluster.

    Args:
        context: of the kubeconfig; None: its current one, or the account of the pod that this runs in.

    Every method raises ConfigurationError for missing permissions and refused objects, ConflictError where another process was first, and
    UnavailableError where the cluster does not answer.
    """

    def __init__(self, context: str | None = None) -> None:
        try:
            configuration = client.Configuration()
            # The client's own choice between the two passes the context to both, and only one takes it.
            if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
                config.load_incluster_config(client_configuration=configuration)
            else:
                # Named, since the client reads the variable when it is imported.
                kubeconfig = os.environ.get("KUBECONFIG")
                config.load_kube_config(kubeconfig, context, client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise ConfigurationError(
                f"no cluster is configured ({' '.join(str(error).split())}): let KUBECONFIG name a file of kubectl's"
            ) from error
        self.host = str(configuration.host)
        self._client = client.ApiClient(configuration)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object; None where there is none."""
        return self._ask("GET", _path(kind, namespace, name), kind, may_lack=True)

    def list(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the objects with these labels."""
        selector = urlencode({"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())})
        found = self._ask("GET", f"{_path(kind, namespace)}?{selector}", kind)
        return list((found or {}).get("items", []))

    def apply(self, wanted: Mapping[str, Any], *, force: bool = False) -> dict[str, Any]:
        """Bring an object to what is wanted of it, and return it; fields that are not named stay as others have set them.

        Args:
            force: take over fields that others own.
        """
        kind, metadata = wanted["kind"], wanted["metadata"]
        path = _path(kind, metadata.get("namespace", ""), metadata["name"])
        query = urlencode({"fieldManager": MANAGER, "force": str(force).lower()})
        done = self._ask("PATCH", f"{path}?{query}", kind, wanted, "application/apply-patch+yaml")
        return done or {}

    def put(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, or replace the version of it that `metadata.resourceVersion` names.

        Raises:
            ConflictError: it has another version by now, or is there already.
        """
        kind, metadata = wanted["kind"], wanted["metadata"]
        query = urlencode({"fieldManager": MANAGER})
        if "resourceVersion" in metadata:
            path = _path(kind, metadata["namespace"], metadata["name"])
            return self._ask("PUT", f"{path}?{query}", kind, wanted) or {}
        return self._ask("POST", f"{_path(kind, metadata['namespace'])}?{query}", kind, wanted) or {}

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object with what it owns, such as a Deployment's pods; nothing happens where there is none."""
        query = urlencode({"propagationPolicy": "Background"})
        self._ask("DELETE", f"{_path(kind, namespace, name)}?{query}", kind, may_lack=True)

    def _ask(
        self,
        method: str,
        path: str,
        kind: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        *,
        may_lack: bool = False,
    ) -> dict[str, Any] | None:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            request = self._client.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = self._client.call_api(*request, _request_timeout=_REQUEST_LIMIT_S)
            content = answer.read()
        # A certificate that does not match is an ApiException of status 0.
        except (urllib3.exceptions.HTTPError, client.ApiException, OSError) as error:
            reason = " ".join(str(getattr(error, "reason", None) or error).split())
            raise UnavailableError(f"no cluster answers at {self.host}: {reason[:300]}") from error
        if 200 <= answer.status < 300:
            found: dict[str, Any] = json.loads(content)
            return found
        refusal = _refusal(answer.status, content)
        if answer.status == 404 and may_lack and refusal.get("details", {}).get("kind") != "namespaces" and refusal:
            return None
        raise _error(answer.status, refusal, f"{method} {kind}", kind)


def _path(kind: str, namespace: str, name: str = "") -> str:
    group, plural = _PATHS[kind]
    where = "" if kind in _OF_THE_CLUSTER else f"/namespaces/{namespace}"
    return f"/{group}{where}/{plural}{f'/{name}' if name else ''}"


def _refusal(status: int, content: bytes) -> dict[str, Any]:
    """Return the API's `Status`; nothing where the answer is none, as for a kind that the cluster does not know."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("code") == status else {}


def _error(status: int, refusal: Mapping[str, Any], request: str, kind: str) -> BulkheadError:
    said = " ".join(str(refusal.get("message", "no reason given")).split())[:500]
    if status == 401:
        return ConfigurationError(f"the cluster does not accept these credentials ({request}): log in to it again")
    if status == 403:
        return ConfigurationError(
            f"the cluster does not allow it: {said}; bind the Role `fleet`, or be an administrator for `up`"
        )
    if status == 404 and not refusal:
        return ConfigurationError(
            f"the cluster does not know {kind}: install what defines it (docs/how-to/kubernetes.md), then `up`"
        )
    if status == 404:
        return ConfigurationError(f"{said}: run `up` first, which makes the namespaces")
    if status == 409 and "conflict with" in said:
        return ConfigurationError(f"{said}: give these fields up there, or take them over with --force")
    if status == 409:
        return ConflictError(f"another command changed the fleet first ({said}): look at `status` and repeat")
    if status in (400, 415, 422):
        return ConfigurationError(f"the cluster refuses the {kind}: {said}")
    return UnavailableError(f"the cluster answered {status} to {request}: {said}")
