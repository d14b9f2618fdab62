"""CR-9: history and heavy users: the ledger, a statement, a report."""

from tests.support.clock import FakeClock
from tests.support.credited import CREDITED, GRANT
from tests.support.scene import scene

HISTORY = """{ customer(key: "acme") { credits {
  ledger(kinds: [SPEND]) { edges { node { amount feature units reference } } }
  statement(month: "2026-03") {
    total { opening granted spent closing } features { feature units credits }
  }
} } }"""
REPORT = """{ heavyUsers(from: "2026-03-01T00:00:00Z", to: "2026-04-01T00:00:00Z") {
  customer { key } credits share features { feature credits }
} }"""


async def test_what_was_spent_is_found_again_by_entry_by_month_and_by_who_spent_most(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock, CREDITED) as on:
        for customer in ("acme", "globex"):
            await on.ask(GRANT, customer=customer, credits=100)
        assert (await on.consume("chat", 3, key="order-1")).status_code == 200
        assert (await on.consume("search", 5)).status_code == 200
        assert (await on.consume("chat", 16, customer="globex")).status_code == 200
        clock.advance(hours=1)
        told = (await on.ask(HISTORY))["customer"]["credits"]
        assert [edge["node"] for edge in told["ledger"]["edges"]] == [
            {"amount": 5, "feature": "search", "units": 5, "reference": None},
            {"amount": 15, "feature": "chat", "units": 3, "reference": "order-1"},
        ]
        assert told["statement"] == {
            "total": {"opening": 0, "granted": 100, "spent": 20, "closing": 80},
            "features": [
                {"feature": "chat", "units": 3, "credits": 15},
                {"feature": "search", "units": 5, "credits": 5},
            ],
        }
        heavy = (await on.ask(REPORT))["heavyUsers"]
        assert [(u["customer"]["key"], u["credits"], u["share"]) for u in heavy] == [
            ("globex", 80, 0.8),
            ("acme", 20, 0.2),
        ]
        assert heavy[1]["features"] == [
            {"feature": "chat", "credits": 15},
            {"feature": "search", "credits": 5},
        ]
