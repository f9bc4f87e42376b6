"""OpenTelemetry traces of requests: one span per sampled request, sent in batches over OTLP/HTTP by the SDK's thread.

OpenTelemetry's own `OTEL_…` variables configure everything; the SDK reads all but the sampler's. It takes 14 MB, so it is loaded only with
an endpoint set. An unsampled request costs a look at its `traceparent` and a random number.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/, https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from random import random
from threading import Thread
from time import time_ns
from typing import Any, NamedTuple

from bentos.errors import INTERNAL
from contract.errors import ConfigurationError
from contract.prediction_log.settings import SHADOW_HEADER

REQUEST_ID = b"x-request-id"
MIRRORED = SHADOW_HEADER.encode()
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_PROTOCOL = "http/protobuf"
_SAMPLER, _SHARE = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_DEFAULT_SHARE = "0.01"
# Whether the caller's sampling decision counts, and the sampled share of the other requests; None: that of `OTEL_TRACES_SAMPLER_ARG`.
_SAMPLERS: dict[str, tuple[bool, float | None]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}
_CLOSE_LIMIT_S = 2.0
# A `traceparent` in hex: version, trace ID (16 bytes), parent ID (8 bytes), flags, of which the lowest bit means sampled.
_PARENT_BYTES = 55
_SAMPLED = frozenset(b"%02x" % flags for flags in range(1, 256, 2))


class Sampling(NamedTuple):
    """A sampler: `heeds_parent` if the caller's decision counts, and the sampled share of requests without one."""

    heeds_parent: bool
    share: float


def sampling(environment: Mapping[str, str]) -> Sampling | None:
    """Return the sampler that the environment sets; None without an endpoint for traces, or if they are disabled.

    Raises:
        ConfigurationError: the protocol or the sampler is unsupported, or the share is not a number from 0 to 1.
    """
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_off |= environment.get("OTEL_TRACES_EXPORTER", "otlp").lower() == "none"
    if is_off or not any(map(environment.get, _ENDPOINTS)):
        return None
    for name in _PROTOCOLS:
        if environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise ConfigurationError(
                f"{name} must be {_PROTOCOL}, the only protocol for traces that this server supports"
            )
    sampler = environment.get(_SAMPLER, "parentbased_traceidratio")
    if sampler not in _SAMPLERS:
        raise ConfigurationError(f"{_SAMPLER} must be one of {', '.join(_SAMPLERS)}")
    heeds_parent, share = _SAMPLERS[sampler]
    return Sampling(heeds_parent, _share(environment) if share is None else share)


def _share(environment: Mapping[str, str]) -> float:
    try:
        share = float(environment.get(_SHARE, _DEFAULT_SHARE))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ConfigurationError(f"{_SHARE} must be a number from 0 to 1")
    return share


class Tracing:
    """The exporter of spans, each made after its request was answered."""

    def __init__(
        self, sampled: Sampling, environment: Mapping[str, str], name: str, version: str, loop: AbstractEventLoop
    ) -> None:
        self._heeds_parent, self._share = sampled
        self._loop = loop
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
        about = {"service.version": version} | ({} if named else {"service.name": name})
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        # The server itself samples, before a span is made, and shuts down in bounded time (`close`).
        provider = TracerProvider(ALWAYS_ON, Resource.create(about), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("bulkhead")
        self._kind, self._failed = SpanKind.SERVER, StatusCode.ERROR
        self._extract = TraceContextTextMapPropagator().extract

    def answered(self, protocol: str, outcome: str, seconds: float, headers: Mapping[bytes, bytes]) -> None:
        """Schedule the span of an answered request if it is sampled; the event loop makes it after the answer is written."""
        if self._samples(headers.get(b"traceparent", b"")):
            self._loop.call_soon(self._record, protocol, outcome, seconds, time_ns(), headers)

    def _samples(self, parent: bytes) -> bool:
        if self._heeds_parent and len(parent) >= _PARENT_BYTES:
            return parent[53:55] in _SAMPLED
        return random() < self._share  # noqa: S311  # no secret

    def _record(self, protocol: str, outcome: str, seconds: float, ended: int, headers: Mapping[bytes, bytes]) -> None:
        carried = {
            name: headers[name.encode()].decode(errors="replace")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        attributes: dict[str, Any] = {"bulkhead.protocol": protocol, "bulkhead.outcome": outcome}
        if request_id := headers.get(REQUEST_ID):
            attributes["bulkhead.request_id"] = request_id.decode(errors="replace")
        span = self._tracer.start_span(
            f"predict {protocol}",
            context=self._extract(carried),
            kind=self._kind,
            attributes=attributes,
            start_time=ended - int(seconds * 1e9),
        )
        if outcome == INTERNAL:
            span.set_status(self._failed)
        span.end(ended)

    def close(self) -> None:
        """Send the recorded spans, for at most 2 seconds."""
        ending = Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(_CLOSE_LIMIT_S)
