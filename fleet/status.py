"""What runs and serves, as plain values, and in words what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.store import Channel
from fleet.envoy_config import PROTOCOLS, cluster_name, port_of
from fleet.proxy import Host
from fleet.settings import Settings
from fleet.state import Replica, State
from fleet.supervision import ProcessState

DOWN = "the fleet is down; `fleet up` starts it"
Hosts = Mapping[tuple[str, int], Host]


def of(
    settings: Settings,
    state: State,
    channel: Channel | None,
    programs: Mapping[str, ProcessState] | None,
    hosts: Hosts,
    problems: list[str],
) -> dict[str, Any]:
    """The status of a fleet; `ready`: all that is wanted serves.

    Args:
        channel: `live`, as the store has it.
        programs: what supervisord runs; None where it does not run.
        hosts: what Envoy sees.
        problems: those that are known already.
    """
    entries = [_entry(replica, programs or {}, hosts) for replica in state.replicas]
    found = [*problems, *_of_store(settings, state, channel), *_of_replicas(state, entries)]
    return {
        "ready": not found,
        "problems": found,
        "running": programs is not None,
        "http": f"http://127.0.0.1:{settings.http_port}",
        "grpc": f"127.0.0.1:{settings.grpc_port}",
        "size": state.size,
        "live": {"digest": channel.digest, **channel.history[-1]} if channel else None,
        "canary": {"digest": state.canary.digest, "percent": state.canary.percent} if state.canary else None,
        "replicas": entries,
    }


def silence(location: str, live: str) -> str:
    """A store that names nothing has nothing to say about what is to be served: it is another one, or lost."""
    return f"the store {location} names no live bundle though {live[:12]} is live: set BULKHEAD_STORE to the store that it came from"


def is_ready(replica: Replica, hosts: Hosts) -> bool:
    """Whether Envoy sends it requests of both protocols."""
    found = [hosts.get((cluster_name(protocol, replica.digest), port_of(protocol, replica))) for protocol in PROTOCOLS]
    return all(host is not None and host.healthy and not host.draining for host in found)


def _entry(replica: Replica, programs: Mapping[str, ProcessState], hosts: Hosts) -> dict[str, Any]:
    process = programs.get(replica.name, ProcessState("STOPPED", 0, 0))
    return {
        "name": replica.name,
        "digest": replica.digest,
        "http_port": replica.http_port,
        "grpc_port": replica.grpc_port,
        "admin_port": replica.admin_port or replica.http_port,
        "state": process.state,
        "pid": process.pid,
        "ready": is_ready(replica, hosts),
    }


def _of_store(settings: Settings, state: State, channel: Channel | None) -> list[str]:
    if channel is None:
        return [silence(settings.store, state.live)] if state.live else ["nothing is live: `fleet deploy candidate`"]
    if channel.digest != state.live:
        served = state.live[:12] if state.live else "nothing"
        return [f"live is {channel.digest[:12]}, but {served} is served: `fleet up` changes to it"]
    return []


def _of_replicas(state: State, entries: list[dict[str, Any]]) -> list[str]:
    problems = []
    for digest, count in state.counts.items():
        ready = sum(entry["ready"] for entry in entries if entry["digest"] == digest)
        if ready < count:
            problems.append(f"{ready} of {count} replicas of {digest[:12]} are ready")
    return problems
