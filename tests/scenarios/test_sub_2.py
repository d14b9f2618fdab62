"""SUB-2: many customers out of step.

| what is asked            | what is found         | what is written             |
|--------------------------|-----------------------|-----------------------------|
| sync all --dry-run       | every difference      | the run, on the audit log   |
| sync all --execute       | the same              | what Stripe holds           |
| sync all --from a file   | the same, from a file | what Stripe holds           |
"""

from pathlib import Path

import orjson
import pytest

from api.billing.listed_files import listed_in
from api.billing.stripe_account import SUBSCRIPTION, listed
from api.domain.errors import InvalidInput
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired

KEYS = ("acme", "bolt", "crux", "dune")


async def out_of_step(both: Pair) -> dict[str, str]:
    """Two were never heard of, one was moved unheard, one is as it should be."""
    subs = {key: await both.subscribe(key) for key in ("acme", "dune")}
    await both.hear()
    subs |= {key: await both.subscribe(key, "pro_monthly") for key in ("bolt", "crux")}
    await both.cancel(subs["dune"])
    both.stripe.webhooks.drop("*")
    both.desk.clock.advance(minutes=10)
    return subs


async def plans(both: Pair) -> list[str]:
    return [await both.desk.plan(key) for key in KEYS]


async def test_a_dry_run_says_what_differs_and_execute_heals_everybody(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, customers=KEYS) as both:
        subs = await out_of_step(both)
        dry = await both.sync(execute=False)
        await both.desk.work()
        found = {d.subscription_id: d.kind.value for d in dry.differences}
        assert found == {subs["bolt"]: "missing", subs["crux"]: "missing", subs["dune"]: "changed"}
        assert await plans(both) == ["starter", "free", "free", "starter"]

        assert (await both.sync()).differing == 3
        await both.desk.work()
        assert await plans(both) == ["starter", "pro", "pro", "free"]
        assert (await both.sync()).differing == 0
        acts = await both.desk.core.database.fetch("select * from audit_log order by id")
        ours = [act for act in acts if act["action"] == "reconciliation.run"]
        assert [act["detail"]["execute"] for act in ours] == [False, True, True]
        assert {(act["actor"], act["reason"]) for act in ours} == {
            ("local:tester", "they are out of step")
        }


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
async def test_an_exported_list_says_whom_to_read_and_the_provider_what_is_written(
    database_url: str, redis_url: str, clock: FakeClock, tmp_path: Path, *, suffix: str
) -> None:
    async with paired(database_url, redis_url, clock, customers=KEYS) as both:
        await out_of_step(both)
        held = both.stripe.all("subscription")
        path = tmp_path / f"subscriptions.{suffix}"
        if suffix == "csv":
            lines = ["id,Customer ID,Status", *(f"{s['id']},x,{s['status']}" for s in held)]
            path.write_text("\n".join(lines))
        else:
            path.write_bytes(b"\n".join(orjson.dumps(s) for s in held))
        asked = both.stripe.faults.asked("/v1/subscriptions", "GET")
        report = await both.sync(listed=listed_in(path, listed, SUBSCRIPTION))
        assert report.differing == 3
        assert both.stripe.faults.asked("/v1/subscriptions", "GET") == asked
        await both.desk.work()
        assert await plans(both) == ["starter", "pro", "pro", "free"]


async def test_a_file_that_is_no_list_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('\n{"object": "invoice"}\n')
    with pytest.raises(InvalidInput, match=r"list\.jsonl:2"):
        [page async for page in listed_in(path, listed, SUBSCRIPTION)]
