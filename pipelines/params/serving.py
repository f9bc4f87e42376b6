"""`serving` of `params.yaml`: the limits of a server, and the budgets of a bundle."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Self, get_type_hints

from pydantic import Field, create_model, model_validator

from contract.bundle.limits import Limits
from pipelines.params.types import Model, Name, RequestedKind

_TYPES = get_type_hints(Limits)
_KEYS: dict[str, Any] = {
    each.name: (_TYPES[each.name], Field(default=each.default, **each.metadata)) for each in fields(Limits)
}
_Limits: Any = create_model("_Limits", __base__=Model, **_KEYS)


class Budget(Model):
    """The budgets of a bundle in its rehearsal before it is published."""

    ready_s: float = Field(
        default=30, gt=0, description="Seconds from the start of `bentoml serve` to the first 200 on `/readyz`."
    )
    p99_ms: float = Field(
        default=50,
        gt=0,
        description="99th percentile of the latency of one row over HTTP, one request at a time, in ms.",
    )
    memory_mb: float = Field(
        default=400, gt=0, description="Resident memory of one replica, all of its processes, in MB."
    )
    environment_mb: float = Field(default=400, gt=0, description="Installed size of the serving environment, in MB.")


class Serving(_Limits):  # type: ignore[misc]  # a base made at run time: mypy does not know its keys
    """The limits of a server (`contract.bundle.limits.Limits`), and the budgets of a bundle."""

    budget: Budget = Field(default=Budget(), description="Budgets of a bundle in its rehearsal.")
    deprecated: dict[Name, RequestedKind] = Field(
        default_factory=dict,
        description="Fields that no feature reads any more, with their kinds, such as `{wind_gust: number}`. Requests may still carry "
        "them; they are ignored.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for smaller, larger in (
            ("target_limit_bytes", "head_limit_bytes"),
            ("body_limit_bytes", "pending_limit_bytes"),
        ):
            if getattr(self, smaller) > getattr(self, larger):
                raise ValueError(f"{smaller} must not exceed {larger}, which includes it")
        return self
