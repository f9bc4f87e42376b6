"""Which pod reaches which, by NetworkPolicies: both sides must allow a connection, and a pod that no policy selects allows all.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """A pod, or an address outside of the cluster where `namespace` is None."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    of_namespace: Mapping[str, str] = field(default_factory=dict)


def reaches(policies: Sequence[Policy], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection is allowed."""
    wanted = (port, protocol)
    return _allows(policies, "Egress", source, target, wanted) and _allows(policies, "Ingress", target, source, wanted)


def _allows(policies: Sequence[Policy], direction: str, here: End, there: End, wanted: tuple[int, str]) -> bool:
    selecting = [each for each in policies if _selects(each, direction, here)]
    return not selecting or any(
        _matches(rule, direction, there, wanted) for each in selecting for rule in _rules(each, direction)
    )


def _selects(policy: Policy, direction: str, pod: End) -> bool:
    is_here = policy["metadata"]["namespace"] == pod.namespace
    return is_here and direction in policy["spec"]["policyTypes"] and _has(policy["spec"]["podSelector"], pod.labels)


def _rules(policy: Policy, direction: str) -> Iterator[Mapping[str, Any]]:
    yield from policy["spec"].get(direction.lower(), [])


def _matches(rule: Mapping[str, Any], direction: str, there: End, wanted: tuple[int, str]) -> bool:
    ports = rule.get("ports")
    is_port = ports is None or any((each["port"], each.get("protocol", "TCP")) == wanted for each in ports)
    peers = rule.get("to" if direction == "Egress" else "from")
    return is_port and (peers is None or any(_is(peer, there) for peer in peers))


def _is(peer: Mapping[str, Any], there: End) -> bool:
    if block := peer.get("ipBlock"):
        address = ip_address(there.address)
        inside = address in ip_network(block["cidr"])
        return inside and not any(address in ip_network(each) for each in block.get("except", []))
    # A peer without namespaceSelector is of the policy's own namespace; ours all have one.
    return (
        there.namespace is not None
        and _has(peer["namespaceSelector"], there.of_namespace)
        and _has(peer.get("podSelector", {}), there.labels)
    )


def _has(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "only labels are evaluated here"
    return selector.get("matchLabels", {}).items() <= labels.items()
