"""Alerts as operators see them, and see to them."""

from datetime import timedelta
from typing import Any

import pytest

from api.catalog.alerts import Severity, alert
from tests.support.graphql import Api

LIST = """
query ($openOnly: Boolean! = true, $kind: String, $first: Int! = 50, $after: String) {
  alerts(openOnly: $openOnly, kind: $kind, first: $first, after: $after) {
    edges { cursor node { id kind severity subject message acknowledgedBy acknowledgedAt note } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
SEEN_TO = """
mutation ($id: ID!, $reason: String!) {
  acknowledgeAlert(id: $id, reason: $reason) { id acknowledgedBy acknowledgedAt note }
}
"""


async def raised(api: Api, *kinds: str) -> None:
    for day, kind in enumerate(kinds):
        assert await alert(
            api.core.database,
            kind,
            f"Look at {kind}.",
            at=api.clock.now(),
            period=api.clock.now() + timedelta(days=day),
            severity=Severity.CRITICAL,
            subject="sub_1",
        )


async def listed(api: Api, **how: Any) -> list[dict[str, Any]]:
    edges = (await api.data(LIST, **how))["alerts"]["edges"]
    return [edge["node"] for edge in edges]


async def test_alerts_are_listed_newest_first_by_kind_and_page(api: Api) -> None:
    await raised(api, "webhook_silence", "double_invoice", "webhook_silence")
    kinds = [one["kind"] for one in await listed(api)]
    assert kinds == ["webhook_silence", "double_invoice", "webhook_silence"]
    assert [one["kind"] for one in await listed(api, kind="double_invoice")] == ["double_invoice"]
    assert await listed(api, kind="nothing") == []
    first = (await api.data(LIST, first=2))["alerts"]
    assert (len(first["edges"]), first["pageInfo"]["hasNextPage"]) == (2, True)
    rest = (await api.data(LIST, first=2, after=first["pageInfo"]["endCursor"]))["alerts"]
    assert (len(rest["edges"]), rest["pageInfo"]["hasNextPage"]) == (1, False)


async def test_who_sees_to_an_alert_first_stays_named_with_the_reason(api: Api) -> None:
    await raised(api, "webhook_silence")
    [one] = await listed(api)
    assert (one["acknowledgedBy"], one["severity"]) == (None, "CRITICAL")
    first = await api.data(SEEN_TO, id=one["id"], reason="the endpoint was off")
    done = first["acknowledgeAlert"]
    assert (done["acknowledgedBy"], done["note"]) == ("key:test", "the endpoint was off")
    assert done["acknowledgedAt"] is not None
    api.clock.advance(hours=1)
    again = await api.data(SEEN_TO, as_=await api.key("support"), id=one["id"], reason="me too")
    assert again == first
    assert await listed(api) == []
    assert [known["note"] for known in await listed(api, openOnly=False)] == [done["note"]]
    rows = await api.core.database.fetch(
        "select actor, reason from audit_log where action = 'alerts.acknowledge'"
    )
    assert [tuple(row) for row in rows] == [("key:test", "the endpoint was off")]


@pytest.mark.parametrize("unknown", ["7", "", "-1", "x", "\u0667", "9" * 40, "9" * 18])
async def test_an_alert_that_there_is_not_is_not_found(api: Api, unknown: str) -> None:
    error = await api.error(SEEN_TO, id=unknown, reason="why")
    assert (error["code"], error["status"]) == ("NOT_FOUND", 404)
    assert "no alert" in error["message"]


async def test_seeing_to_it_takes_a_reason(api: Api) -> None:
    await raised(api, "webhook_silence")
    [one] = await listed(api)
    assert (await api.error(SEEN_TO, id=one["id"], reason=" "))["code"] == "INVALID_INPUT"
    assert [known["acknowledgedBy"] for known in await listed(api)] == [None]


async def test_alerts_are_for_operators(api: Api) -> None:
    await raised(api, "webhook_silence")
    for bearer in (api.token("acme", ["check", "consume", "manage"]), await api.key("consume")):
        assert (await api.error(LIST, as_=bearer))["code"] == "FORBIDDEN"
        assert (await api.error(SEEN_TO, as_=bearer, id="1", reason="x"))["code"] == "FORBIDDEN"
    [one] = await listed(api)
    assert one["acknowledgedBy"] is None
