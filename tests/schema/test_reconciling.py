"""Findings of comparisons with the provider, as operators ask for them."""

from datetime import timedelta
from typing import Any

from api.billing.findings import Finding, QueueKind, enqueue
from tests.support.graphql import Api

LIST = "{ reconciliationFindings { id kind objectId customerKey state resolution } }"


async def test_a_finding_is_listed_retried_and_resolved_on_record(api: Api) -> None:
    core, at = api.core, api.clock.now()
    async with core.database.transaction() as conn:
        finding = Finding(QueueKind.DOUBLE_INVOICE, "sub_1", None)
        assert await enqueue(conn, "stripe", finding, at, wait=timedelta(days=1))
        assert not await enqueue(conn, "stripe", finding, at)
    [found] = (await api.data(LIST))["reconciliationFindings"]
    assert (found["kind"], found["objectId"], found["state"]) == ("double_invoice", "sub_1", "OPEN")
    asked = 'mutation { %s(id: "%s", reason: "refunded it") }'
    assert (await api.data(asked % ("retryFinding", found["id"])))["retryFinding"] is True
    assert (await api.data(asked % ("resolveFinding", found["id"])))["resolveFinding"] is True
    [found] = (await api.data(LIST))["reconciliationFindings"]
    assert (found["state"], found["resolution"]) == ("RESOLVED", "refunded it")
    rows = await core.database.fetch("select action from audit_log order by id")
    actions = [row["action"] for row in rows]
    assert actions[-2:] == ["reconciliation.retry", "reconciliation.resolve"]


RUNS = """
query ($first: Int! = 50, $after: String) {
  reconciliationRuns(first: $first, after: $after) {
    edges { node { id scope executed startedAt finishedAt counts error actor reason } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}
"""


async def ran(api: Api, reason: str, *, ended: bool = True) -> None:
    at = api.clock.advance(minutes=1)
    await api.core.database.execute(
        "insert into reconciliation_runs"
        " (provider, scope, execute, started_at, finished_at, counts, actor, reason)"
        " values ('stripe', 'all', true, $1, $2, $3, 'local:op', $4)",
        at,
        at if ended else None,
        {"compared": 3},
        reason,
    )


async def runs(api: Api, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.data(RUNS, **how))["reconciliationRuns"]
    return found


async def test_runs_are_listed_newest_first_page_after_page(api: Api) -> None:
    await ran(api, "first")
    await ran(api, "second")
    await ran(api, "third", ended=False)
    page = await runs(api, first=2)
    assert [edge["node"]["reason"] for edge in page["edges"]] == ["third", "second"]
    assert page["pageInfo"]["hasNextPage"] is True
    died, done = (edge["node"] for edge in page["edges"])
    assert died["finishedAt"] is None
    assert done["finishedAt"] == done["startedAt"]
    assert (done["scope"], done["executed"], done["counts"]) == ("all", True, {"compared": 3})
    assert (done["actor"], done["error"]) == ("local:op", None)
    rest = await runs(api, first=2, after=page["pageInfo"]["endCursor"])
    assert [edge["node"]["reason"] for edge in rest["edges"]] == ["first"]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)


async def test_runs_are_for_operators_and_their_cursors_for_this_list(api: Api) -> None:
    await ran(api, "first")
    support, product = await api.key("support"), await api.key("check")
    assert len((await api.data(RUNS, as_=support))["reconciliationRuns"]["edges"]) == 1
    assert (await api.error(RUNS, as_=product))["code"] == "FORBIDDEN"
    assert (await api.error(RUNS, after="QWxlcnQ6MQ=="))["code"] == "INVALID_INPUT"
    assert (await api.error(RUNS, first=101))["code"] == "INVALID_INPUT"
