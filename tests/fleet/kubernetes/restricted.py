"""The rules of Pod Security's level `restricted`, those of `baseline` included, for a pod's specification.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_PROFILES = ("RuntimeDefault", "Localhost")
Pod = dict[str, Any]


def violations(pod: Pod) -> list[str]:
    """Each rule that a pod breaks, with where."""
    return [
        *_of_pod(pod),
        *(f"{each['name']}: {rule}" for each in _containers(pod) for rule in _of_container(each, pod)),
    ]


def _containers(pod: Pod) -> Iterator[Pod]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(key, [])


def _of_pod(pod: Pod) -> Iterator[str]:
    yield from (f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    if pod.get("hostUsers") is True and pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls of the host"
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']} is of no allowed type"


def _of_container(container: Pod, pod: Pod) -> Iterator[str]:
    own, common = container.get("securityContext", {}), pod.get("securityContext", {})
    both = common | own
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are not all dropped"
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if both.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if both.get("seccompProfile", {}).get("type") not in _PROFILES:
        yield "seccompProfile is unconfined"
    if both.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] == "Unconfined":
        yield "appArmorProfile is unconfined"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is set"
    if set(both.get("seLinuxOptions", {})) & {"user", "role"}:
        yield "seLinuxOptions are set"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort is set"
    yield from (
        f"{name}.host is set"
        for name in ("livenessProbe", "readinessProbe", "startupProbe")
        if _asks_host(container.get(name))
    )


def _asks_host(probe: Pod | None) -> bool:
    return any(probe.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket")) if probe else False
