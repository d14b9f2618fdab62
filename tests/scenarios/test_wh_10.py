"""WH-10: success rate, failures by type, events per day with gaps, over any window."""

from api.billing.webhook_report import webhook_report
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Life, body_of

REPORT = """
query ($minutes: Int!) {
  webhookReport(windowMinutes: $minutes) {
    received missed refused successRate lastEventAt
    byType { type state count }
    failures { type problem count }
    refusals { reason count }
    days { day delivered missed gap }
  }
}
"""


async def test_the_report_tells_success_failures_and_gaps(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        empty = await webhook_report(books.core.database, "stripe", minutes=60, at=clock.now())
        assert (empty.success_rate, empty.last_event_at, empty.received) == (None, None, 0)
        began = clock.now()
        life = Life("initech", clock.now(), named=True, prices={"unheard_of": 1})
        for key, price in (("acme", "starter"), ("globex", "pro"), ("initech", "unheard_of")):
            life = Life(key, clock.now(), named=True, prices={price: 1})
            await books.tell(life.created("active"), life=life)
            clock.advance(days=1 if key == "acme" else 0)
        await books.deliver(body_of(life.created("active")), signature="nonsense")
        clock.advance(days=2)

        week = (await books.ask(REPORT, minutes=7 * 1440))["webhookReport"]
        assert (week["received"], week["missed"], week["refused"]) == (3, 0, 1)
        assert week["successRate"] == 2 / 3
        created = "customer.subscription.created"
        assert week["byType"] == [
            {"type": created, "state": "applied", "count": 2},
            {"type": created, "state": "failed", "count": 1},
        ]
        assert [(f["type"], f["count"]) for f in week["failures"]] == [(created, 1)]
        assert [r["count"] for r in week["refusals"]] == [1]
        days = [(d["day"], d["delivered"], d["gap"]) for d in week["days"] if d["delivered"]]
        assert days == [("2026-03-10", 1, False), ("2026-03-11", 2, False)]
        assert [d["gap"] for d in week["days"]][-2:] == [True, True]

        # A window that begins later has only what came in it.
        minutes = int((clock.now() - began).total_seconds()) // 60 - 60
        later = (await books.ask(REPORT, minutes=minutes))["webhookReport"]
        assert later["received"] == 2
