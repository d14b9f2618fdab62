"""CR-7: a support correction, up or down; who and why stay in the ledger."""

from tests.support.clock import FakeClock
from tests.support.credited import BALANCE, CREDITED, GRANT
from tests.support.scene import scene

ADJUST = """mutation ($credits: SignedUnits!, $reason: String!, $key: String) {
  adjustCredits(customer: "acme", credits: $credits, reason: $reason, reference: "ticket-7",
      idempotencyKey: $key) { available replayed operationId }
}"""
LEDGER = """query ($operation: String) {
  customer(key: "acme") { credits { ledger(operation: $operation) {
    edges { node { kind amount reason actor reference } }
  } } }
}"""


async def test_a_correction_stays_with_who_and_why_and_credits_pass_or_not_by_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock, CREDITED) as on:
        assert (await on.consume("chat")).status_code == 402
        up = (await on.ask(ADJUST, credits=7, reason="was promised 7", key="t-7"))["adjustCredits"]
        again = await on.ask(ADJUST, credits=7, reason="was promised 7", key="t-7")
        assert again["adjustCredits"] == {**up, "replayed": True}
        assert up["available"] == 7
        assert (await on.consume("chat")).status_code == 200
        down = await on.ask(ADJUST, credits=-2, reason="promised 5 only")
        assert down["adjustCredits"]["available"] == 0
        assert (await on.consume("search")).status_code == 402
        told = []
        for act in (up, down["adjustCredits"]):
            found = await on.ask(LEDGER, operation=act["operationId"])
            told += [e["node"] for e in found["customer"]["credits"]["ledger"]["edges"]]
        assert [(e["kind"], e["amount"], e["reason"], e["reference"]) for e in told] == [
            ("GRANT", 7, "was promised 7", "ticket-7"),
            ("REVOKE", 2, "promised 5 only", "ticket-7"),
        ]
        assert all(entry["actor"].startswith("key:") for entry in told)
        await on.ask(GRANT, customer="acme", credits=1)
        assert (await on.ask(BALANCE, customer="acme"))["customer"]["credits"]["available"] == 1
