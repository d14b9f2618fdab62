"""Findings of comparisons with the provider, as operators ask for them."""

from datetime import timedelta

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
