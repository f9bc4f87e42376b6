"""A fleet's status: what runs and serves, as plain values, and its problems in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from contract.errors import ConfigurationError, UnavailableError
from contract.store.channel import Channel
from fleet.configuration import declaration
from fleet.configuration.declaration import Declaration
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State, socket_of
from fleet.envoy.proxy import Hosts, Proxy
from fleet.isolation import sandbox
from fleet.monitoring import shadow
from fleet.supervisor import heartbeat, unix_http
from fleet.supervisor.replicas import refusals
from fleet.supervisor.supervision import ProcessState, Supervisor

DOWN = "the fleet is down; `fleet up` starts it"
_UNSUPERVISED = "supervisord does not run, so crashed processes stay down: `fleet up` repairs it"
_LEFT = "programs of an earlier supervisord still run: `fleet up` replaces them"
_NO_ENVOY = "Envoy does not answer"
_OTHER_ROUTES = "Envoy's routes are stale: `fleet up` updates them"
_NO_RECONCILER = "the reconciler does not run, so nothing is repaired without you: `fleet up` starts it"
_NOT_APPLIED = "{} is not applied yet"
REFUSAL = "refused.json"  # in the fleet's root: the last failure of the reconciler, until it succeeds
NOTHING = "nothing is live: `fleet deploy candidate`"
Programs = Mapping[str, ProcessState]


def of(
    settings: Settings, state: State, channel: Channel | None, supervisor: Supervisor, proxy: Proxy
) -> dict[str, Any]:
    """Return the fleet's status, within some seconds; `ready`: all that is wanted serves, and what ends or hangs is replaced.

    Args:
        channel: `live`, as the store has it.
    """
    programs, hosts, problems = _running(settings, state, supervisor, proxy)
    restarts = supervisor.restarts()
    entries = [_entry(settings, replica, programs or {}, proxy, hosts, restarts) for replica in state.replicas]
    # What is said of the replicas would only repeat it then.
    is_down = problems == [DOWN]
    problems += _of_store(settings, state, channel)
    problems += _of_declaration(settings, state)
    if not is_down:
        problems += [*_of_replicas(state, entries), *refusals(state, settings.root)]
        problems += _refusal(settings) if problems else []
    return {
        "ready": not problems,
        "problems": problems,
        "running": programs is not None,
        "http": f"http://{settings.host}:{settings.http_port}",
        "grpc": f"{settings.host}:{settings.grpc_port}",
        "size": state.size,
        "declared": asdict(Declaration.of(state)),
        "isolation": asdict(sandbox.saved(settings.root)),
        "live": {"digest": channel.digest, **channel.history[-1]} if channel else None,
        "canary": _canary(state, proxy, hosts),
        "shadow": shadow.report(settings.root, state),
        "replicas": entries,
    }


def silence(location: str, live: str) -> str:
    """Return the problem of a store that names no live bundle while one is served: it is another store, or lost."""
    return f"the store {location} names no live bundle though {live[:12]} is live: set BULKHEAD_STORE to the store that it came from"


def _running(
    settings: Settings, state: State, supervisor: Supervisor, proxy: Proxy
) -> tuple[Programs | None, Hosts, list[str]]:
    """Return supervisord's programs (None where it does not run), Envoy's endpoints, and the problems of these and of the reconciler."""
    problems: list[str] = []
    programs: Programs | None = None
    try:
        programs = supervisor.states() if supervisor.is_running() else None
        strays = supervisor.strays()
        if programs is None and not strays:
            # Down only if no program has outlived a killed supervisord: those still serve.
            return None, {}, [DOWN]
        problems += [_UNSUPERVISED if programs is None else _LEFT] * bool(strays)
    except UnavailableError as error:
        problems.append(str(error))
    if not heartbeat.looks(settings.root):
        problems.append(_NO_RECONCILER)
    try:
        hosts = proxy.hosts()
        problems += [_OTHER_ROUTES] * (not proxy.routes(state))
    except (*unix_http.FAILURES, ValueError):
        return programs, {}, [*problems, _NO_ENVOY]
    return programs, hosts, problems


def _entry(
    settings: Settings,
    replica: Replica,
    programs: Programs,
    proxy: Proxy,
    hosts: Hosts,
    restarts: Mapping[str, int],
) -> dict[str, Any]:
    process = programs.get(replica.name, ProcessState("STOPPED", 0, 0))
    found = proxy.of(replica, hosts)
    return {
        "name": replica.name,
        "digest": replica.digest,
        "http_socket": socket_of("http", replica.name, settings.root),
        "grpc_socket": socket_of("grpc", replica.name, settings.root),
        "admin_port": replica.admin_port,
        "state": process.state,
        "pid": process.pid,
        "started_at": process.started_at,
        "ready": all(host is not None and host.gets_requests for host in found),
        # Unknown, not none, where Envoy did not tell.
        "in_flight": sum(host.active_requests for host in found if host) if any(found) else None,
        "restarts": restarts.get(replica.name, 0),
    }


def _canary(state: State, proxy: Proxy, hosts: Hosts) -> dict[str, Any] | None:
    """Return the bundle on trial, with the requests and failures of its replicas and of the live ones."""
    if state.canary is None:
        return None
    served = {}
    # By Envoy's own counts, since a request that a canary failed and a live replica then answered is a success to its caller.
    for name, digest in (("live", state.live), ("canary", state.canary.digest)):
        found = [host for replica in state.of(str(digest)) for host in proxy.of(replica, hosts) if host]
        served[name] = {"requests": sum(each.requests for each in found), "errors": sum(each.errors for each in found)}
    return {
        "digest": state.canary.digest,
        "percent": state.canary.percent,
        "judge": state.canary.judge,
        "served": served,
    }


def _of_store(settings: Settings, state: State, channel: Channel | None) -> list[str]:
    if channel is None:
        return [silence(settings.store, state.live)] if state.live else [NOTHING]
    if channel.digest != state.live:
        served = state.live[:12] if state.live else "nothing"
        return [f"live is {channel.digest[:12]}, but {served} is served: `fleet up` changes to it"]
    return []


def _of_declaration(settings: Settings, state: State) -> list[str]:
    path = settings.declaration
    try:
        found = declaration.read(path)
    except ConfigurationError as error:
        return [f"{error}; what was accepted before is in force"]
    if found is None or found[0].is_fulfilled_by(state):
        return []
    return [_NOT_APPLIED.format(path.name)]


def _refusal(settings: Settings) -> list[str]:
    """Return why the reconciler could not repair what is wrong."""
    with suppress(OSError, ValueError, KeyError):
        failure = json.loads((settings.root / REFUSAL).read_bytes())
        return [f"the reconciler tried ({failure['why']}) and failed: {failure['failure']}"]
    return []


def _of_replicas(state: State, entries: list[dict[str, Any]]) -> list[str]:
    problems = []
    for digest, count in state.counts.items():
        ready = sum(entry["ready"] for entry in entries if entry["digest"] == digest)
        if ready < count:
            problems.append(f"{ready} of {count} replicas of {digest[:12]} are ready")
    return problems
