"""What limits that only watch would have refused."""

from __future__ import annotations

from collections.abc import Iterable

from api.gates.outcome import Consumption
from api.infra import telemetry

_passed = telemetry.counter(
    "shadow_refusals",
    "Calls let pass that a shadow limit would have refused, by feature and window.",
    ("feature", "window"),
)


def tell(consumptions: Iterable[Consumption]) -> None:
    """Count these, answered together, once for each shadow limit that they go beyond.

    Cost: a look at each window; the metric is only told of what would have been refused.
    """
    beyond = {
        (consumption.feature, figure.window.value)
        for consumption in consumptions
        for figure in consumption.windows
        if figure.shadow and figure.limit is not None and figure.used > figure.limit
    }
    for feature, window in beyond:
        _passed.labels(feature, window).inc()
