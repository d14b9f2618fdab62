"""CR-6: an action's cost was wrong: correct the catalog, refund everyone in a window, dry first."""

from typing import Any

from tests.support.clock import FakeClock
from tests.support.credited import BALANCE, CREDITED, GRANT
from tests.support.scene import Scene, scene

APPLY = """mutation ($document: String!) {
  applyCatalog(document: $document, reason: "chat costs 2") { applied }
}"""
REFUND = """mutation ($dryRun: Boolean! = true) {
  refundOvercharged(feature: "chat", from: "2026-03-01T00:00:00Z", to: "2026-04-01T00:00:00Z",
      reason: "chat costs 2", dryRun: $dryRun, reference: "incident-4") {
    credits customers { customer operations charged right credits }
  }
}"""


async def left(on: Scene, customer: str) -> int:
    units: int = (await on.ask(BALANCE, customer=customer))["customer"]["credits"]["available"]
    return units


async def refund(on: Scene, **said: Any) -> Any:  # noqa: ANN401 - any answer
    return (await on.ask(REFUND, **said))["refundOvercharged"]


async def test_everyone_who_paid_too_much_gets_the_difference_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock, CREDITED) as on:
        for customer in ("acme", "globex"):
            await on.ask(GRANT, customer=customer, credits=100)
        for units in (1, 4):
            assert (await on.consume("chat", units, key=f"order-{units}")).status_code == 200
        assert (await on.consume("chat", 2, customer="globex")).status_code == 200
        assert (await on.consume("search", 3, customer="globex")).status_code == 200
        assert [await left(on, c) for c in ("acme", "globex")] == [75, 87]
        assert (await refund(on))["customers"] == []

        right = CREDITED.replace("credits = 5", "credits = 2")
        assert (await on.ask(APPLY, document=right))["applyCatalog"]["applied"]
        owed = [
            {"customer": "acme", "operations": 2, "charged": 25, "right": 10, "credits": 15},
            {"customer": "globex", "operations": 1, "charged": 10, "right": 4, "credits": 6},
        ]
        assert await refund(on) == {"credits": 21, "customers": owed}
        assert [await left(on, c) for c in ("acme", "globex")] == [75, 87]
        assert await refund(on, dryRun=False) == {"credits": 21, "customers": owed}
        assert await refund(on, dryRun=False) == {"credits": 0, "customers": []}
        assert [await left(on, c) for c in ("acme", "globex")] == [90, 93]
        # The new price from now on, and nothing of it is owed.
        assert (await on.consume("chat")).status_code == 200
        assert (await refund(on, dryRun=False))["credits"] == 0
        assert await left(on, "acme") == 88
        log = await on.ask("{ auditLog { edges { node { action customer { key } } } } }")
        acts = [e["node"] for e in log["auditLog"]["edges"]]
        assert [a["customer"]["key"] for a in acts if "refund" in a["action"]] == ["globex", "acme"]
