"""What a worker does to keep the record equal to the provider's."""

from __future__ import annotations

from dataclasses import dataclass

from api.billing.queue import ReconciliationQueue
from api.billing.scheduled_passes import DAILY, WEEKLY, ScheduledPasses
from api.billing.stripe_door import StripeDoor
from api.wiring import Core
from api.wiring.payments import reconciliation_of, reconciliation_queue_of
from api.worker.turns import Turn


@dataclass(frozen=True, slots=True)
class Comparing:
    """Passes over everything, and the queue of what they and the record show."""

    passes: ScheduledPasses
    queue: ReconciliationQueue

    def turns(self) -> tuple[Turn, ...]:
        """Return the passes with their intervals."""
        return (
            Turn("reconciliation daily", DAILY, self.passes.daily),
            Turn("reconciliation weekly", WEEKLY, self.passes.weekly),
        )


def comparing_of(core: Core, stripe: StripeDoor) -> Comparing:
    """Build what compares the record with Stripe by itself."""
    passes = ScheduledPasses(core.database, reconciliation_of(core, stripe))
    return Comparing(passes, reconciliation_queue_of(core, stripe))
