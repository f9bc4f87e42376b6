"""When requests are traced, which of them, and what a wrong setting says."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from bentos.monitoring.tracing import Sampling, Tracing, sampling
from contract.errors import ConfigurationError
from harness import PROJECT

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def test_nothing_is_traced_and_nothing_imported_unless_an_endpoint_is_named() -> None:
    assert sampling({"OTEL_TRACES_SAMPLER": "sometimes"}) is None
    assert sampling(ENDPOINT | {"OTEL_SDK_DISABLED": "true"}) is None
    assert sampling(ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}) is None
    look = "import sys, bentos.core; print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    done = subprocess.run([sys.executable, "-c", look], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "sampled", "not_sampled", "alone"),
    [
        ({}, 1.0, 0.0, 0.01),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.5"}, 1.0, 0.0, 0.5),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5, 0.5, 0.5),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 1.0, 1.0, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0, 0.0, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0, 0.0, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 1.0, 0.0, 0.0),
    ],
)
def test_sampler_is_the_one_that_is_asked_for(
    environment: dict[str, str], sampled: float, not_sampled: float, alone: float
) -> None:
    asked = ENDPOINT | environment
    loop = asyncio.new_event_loop()
    made = Tracing(sampling(asked) or Sampling(False, -1), asked, "flights", "f00d", loop)
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
    for parent, share in ((trace + b"01", sampled), (trace + b"00", not_sampled), (b"", alone), (b"01", alone)):
        shares = sum(made._samples(parent) for _ in range(4000)) / 4000
        assert shares == pytest.approx(share, abs=0.0 if share in (0.0, 1.0) else 0.05)
    made.close()
    loop.close()


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_SAMPLER": "sometimes"},
        {"OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_TRACES_SAMPLER_ARG": "nan"},
        {"OTEL_TRACES_SAMPLER_ARG": "all"},
    ],
)
def test_setting_is_named_when_it_cannot_be(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(environment))):
        sampling(ENDPOINT | environment)
