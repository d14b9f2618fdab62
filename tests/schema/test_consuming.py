"""Deciding and counting, in GraphQL."""

from tests.support.graphql import Api

CONSUME = """
mutation ($input: ConsumeInput!) {
  consume(input: $input) {
    id customer feature units replayed degraded
    windows { window limit used held remaining startsAt resetsAt shadow }
  }
}
"""


async def test_what_is_consumed_is_told_with_its_windows(api: Api) -> None:
    data = await api.data(CONSUME, input={"customer": "acme", "feature": "calls", "units": 3})
    consumed = data["consume"]
    assert consumed["id"]
    assert (consumed["customer"], consumed["feature"], consumed["units"]) == ("acme", "calls", 3)
    assert (consumed["replayed"], consumed["degraded"]) == (False, False)
    assert consumed["windows"] == [
        {
            "window": "HOUR",
            "limit": 5,
            "used": 3,
            "held": 0,
            "remaining": 2,
            "startsAt": "2026-03-10T10:00:00Z",
            "resetsAt": "2026-03-10T11:00:00Z",
            "shadow": False,
        },
        {
            "window": "DAY",
            "limit": 8,
            "used": 3,
            "held": 0,
            "remaining": 5,
            "startsAt": "2026-03-10T00:00:00Z",
            "resetsAt": "2026-03-11T00:00:00Z",
            "shadow": False,
        },
    ]
