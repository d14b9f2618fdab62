"""Holds over HTTP: what is set aside, taken for good, given back, and refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.domain.catalog import MAX_UNITS
from tests.support.clock import FakeClock
from tests.support.credits import CATALOG, accounts, actors, gift
from tests.support.site import Site, site_on


@pytest.fixture
async def site(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Site]:
    async with site_on(database_url, redis_url, clock, CATALOG) as built:
        await gift(built.core, clock, 40)
        yield built


async def ok(site: Site, path: str, **said: Any) -> Any:  # noqa: ANN401 - JSON
    answered = await site.post(path, {"customer": "acme", **said})
    assert answered.status_code == 200, answered.text
    return answered.json()


async def refused(site: Site, path: str, **said: Any) -> tuple[int, str, str]:
    answered = await site.post(path, {"customer": "acme", **said})
    assert answered.headers["content-type"] == "application/problem+json"
    told = answered.json()
    assert told["status"] == answered.status_code
    return answered.status_code, told["code"], told["detail"]


async def test_a_hold_of_units_and_credits_is_told_with_all_that_it_set_aside(site: Site) -> None:
    await ok(site, "/v1/consume", feature="chat", units=90)
    answered = await site.post(
        "/v1/hold", {"customer": "acme", "feature": "chat", "units": 30, "seconds": 60}
    )
    said = answered.json()
    windows = said.pop("windows")
    assert said.pop("id")
    assert said == {
        "customer": "acme",
        "feature": "chat",
        "state": "OPEN",
        "units": 30,
        "captured": 0,
        "held": 30,
        "charged": 20,
        "credits": 6,
        "spentCredits": 0,
        "heldCredits": 6,
        "placedAt": "2026-03-10T10:00:00Z",
        "expiresAt": "2026-03-10T10:01:00Z",
        "resolvedAt": None,
        "extraConsumptionId": None,
        "replayed": False,
        "funding": {
            "included": 10,
            "charged": 20,
            "credits": 6,
            "buckets": [{"bucket": "PERMANENT", "credits": 6}],
        },
        "balance": 34,
    }
    assert [(w["window"], w["used"], w["held"], w["remaining"]) for w in windows] == [
        ("DAY", 90, 30, 30),
        ("MONTH", 90, 10, 0),
    ]
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["ratelimit"] == '"chat/day";r=30;t=50400'
    assert await accounts(site.core) == {"available": 34, "held": 6}


async def test_less_is_captured_and_the_rest_given_back(site: Site) -> None:
    held = await ok(site, "/v1/hold", feature="claim", units=4)
    assert (held["expiresAt"], held["balance"]) == ("2026-03-10T10:10:00Z", 20)
    captured = await ok(site, "/v1/capture", holdId=held["id"], units="1")
    assert (captured["state"], captured["captured"], captured["held"]) == ("CAPTURED", 1, 0)
    assert (captured["spentCredits"], captured["heldCredits"]) == (5, 0)
    assert captured["resolvedAt"] == "2026-03-10T10:00:00Z"
    assert "funding" not in captured
    assert await accounts(site.core) == {"available": 35, "spent": 5}


async def test_in_parts_the_rest_stays_held_until_the_last_one(site: Site) -> None:
    held = await ok(site, "/v1/hold", feature="claim", units=4)
    part = await ok(site, "/v1/capture", holdId=held["id"], units=3, final=False)
    assert (part["state"], part["captured"], part["held"]) == ("OPEN", 3, 1)
    assert (part["spentCredits"], part["heldCredits"], part["resolvedAt"]) == (15, 5, None)
    whole = await ok(site, "/v1/capture", holdId=held["id"])
    assert (whole["state"], whole["captured"]) == ("CAPTURED", 4)
    assert await accounts(site.core) == {"available": 20, "spent": 20}


async def test_a_void_gives_all_of_it_back(site: Site) -> None:
    for feature, units in (("claim", 4), ("calls", 3), ("chat", 120), ("seats", 2)):
        held = await ok(site, "/v1/hold", feature=feature, units=units)
        voided = await ok(site, "/v1/void", holdId=held["id"])
        assert (voided["state"], voided["held"], voided["captured"]) == ("VOIDED", 0, 0)
        assert await site.used(feature) == 0
    assert await accounts(site.core) == {"available": 40}


async def test_an_extended_hold_stands_longer_and_never_shorter(site: Site) -> None:
    held = await ok(site, "/v1/hold", feature="calls", seconds=60)
    extended = await ok(site, "/v1/extend", holdId=held["id"], seconds=90)
    assert (extended["state"], extended["expiresAt"]) == ("OPEN", "2026-03-10T10:01:30Z")
    assert await refused(site, "/v1/extend", holdId=held["id"], seconds=30) == (
        400,
        "INVALID_INPUT",
        "the hold stands until 2026-03-10T10:01:30Z already; an extension ends later",
    )
    site.clock.advance(seconds=89)
    assert await site.core.holding.expire(site.clock.now()) == 0
    site.clock.advance(seconds=1)
    for path, more in (("/v1/capture", {}), ("/v1/extend", {"seconds": 60})):
        told = await refused(site, path, holdId=held["id"], **more)
        assert told == (409, "HOLD_CLOSED", "The hold expired at 2026-03-10T10:01:30Z.")


@pytest.mark.parametrize(("feature", "units", "most"), [("calls", 2, 10), ("claim", 2, 8)])
async def test_more_than_is_held_is_captured_only_if_it_fits(
    site: Site, feature: str, units: int, most: int
) -> None:
    held = await ok(site, "/v1/hold", feature=feature, units=units)
    asked = {"customer": "acme", "holdId": held["id"], "idempotencyKey": "more"}
    too_much = await site.post("/v1/capture", {**asked, "units": most + 1})
    said = too_much.json()
    assert too_much.status_code in (402, 429)
    assert (said["units"], said["maxUnitsNow"]) == (most + 1 - units, most - units)
    captured = (await site.post("/v1/capture", {**asked, "units": most})).json()
    assert (captured["state"], captured["captured"]) == ("CAPTURED", units)
    again = (await site.post("/v1/capture", {**asked, "units": most})).json()
    assert again == {**captured, "replayed": True}
    assert captured["extraConsumptionId"]
    denied = await site.post("/v1/consume", {"customer": "acme", "feature": feature})
    assert denied.status_code in (402, 429)
    # What was more is a consumption like any other.
    given_back = {"customer": "acme", "feature": feature, "units": most - units}
    given_back["consumptionId"] = captured["extraConsumptionId"]
    assert (await site.post("/v1/release", given_back)).status_code == 200
    assert (
        await site.post(
            "/v1/consume", {"customer": "acme", "feature": feature, "units": most - units}
        )
    ).status_code == 200


async def test_what_is_held_cannot_be_promised_twice(site: Site) -> None:
    await ok(site, "/v1/hold", feature="claim", units=5)
    answered = await site.post("/v1/hold", {"customer": "acme", "feature": "claim", "units": 4})
    said = answered.json()
    assert (answered.status_code, said["code"]) == (402, "INSUFFICIENT_CREDITS")
    assert (said["cost"], said["balance"], said["maxUnitsNow"]) == (20, 15, 3)
    assert said["unlockedByPacks"] == ["small", "large"]
    await ok(site, "/v1/hold", feature="calls", units=7)
    full = await site.post("/v1/hold", {"customer": "acme", "feature": "calls", "units": 4})
    assert (full.status_code, full.json()["code"]) == (429, "DAILY_CAP_EXCEEDED")
    assert (full.json()["held"], full.json()["used"]) == (7, 0)
    assert full.headers["retry-after"] == "50400"


async def test_a_retry_under_the_same_key_is_answered_as_the_first_time(site: Site) -> None:
    async def twice(path: str, **said: Any) -> Any:  # noqa: ANN401 - JSON
        headers = {"Idempotency-Key": f'"{path}-{said.get("holdId", "")[-8:]}"'}
        first, again = [
            (await site.post(path, {"customer": "acme", **said}, headers=headers)).json()
            for _ in range(2)
        ]
        assert again == {**first, "replayed": True}
        return first

    one = await twice("/v1/hold", feature="claim", units=2, seconds=60)
    await twice("/v1/extend", holdId=one["id"], seconds=120)
    await twice("/v1/capture", holdId=one["id"], units=1)
    other = await ok(site, "/v1/hold", feature="claim", units=2)
    await twice("/v1/void", holdId=other["id"])
    assert await accounts(site.core) == {"available": 35, "spent": 5}


async def test_a_key_that_named_something_else_is_a_conflict(site: Site) -> None:
    held = await ok(site, "/v1/hold", feature="claim", idempotencyKey="k1")
    conflict = (
        409,
        "IDEMPOTENCY_CONFLICT",
        "idempotencyKey 'k1' was used for an operation with other contents",
    )
    for changed in ({"units": 2}, {"seconds": 60}, {"feature": "chat"}):
        said = {"feature": "claim", "idempotencyKey": "k1", **changed}
        assert await refused(site, "/v1/hold", **said) == conflict
    assert await refused(site, "/v1/void", holdId=held["id"], idempotencyKey="k1") == conflict
    assert await refused(site, "/v1/consume", feature="claim", idempotencyKey="k1") == conflict
    await ok(site, "/v1/capture", holdId=held["id"], idempotencyKey="k2")
    told = await refused(site, "/v1/capture", holdId=held["id"], units=1, idempotencyKey="k2")
    assert told[:2] == (409, "IDEMPOTENCY_CONFLICT")
    assert await accounts(site.core) == {"available": 35, "spent": 5}


async def test_a_closed_hold_cannot_change_any_more(site: Site) -> None:
    voided, captured = [await ok(site, "/v1/hold", feature="claim") for _ in range(2)]
    await ok(site, "/v1/void", holdId=voided["id"])
    await ok(site, "/v1/capture", holdId=captured["id"])
    for hold, state in ((voided, "voided"), (captured, "captured")):
        for path, more in (
            ("/v1/capture", {}),
            ("/v1/capture", {"units": 7}),
            ("/v1/void", {}),
            ("/v1/extend", {"seconds": 900}),
        ):
            assert await refused(site, path, holdId=hold["id"], **more) == (
                409,
                "HOLD_CLOSED",
                f"The hold is {state} already; place another.",
            )
    assert await accounts(site.core) == {"available": 35, "spent": 5}


SECONDS = "seconds must be a whole number from 1 to 2678400, and be given to extend a hold."
UNITS = f"units must be a whole number from 1 to {MAX_UNITS}, or its digits in a string."
HOLD_ID = "holdId must be the id of a hold, a string, and be given."
NOT_ONE = "holdId is not the id of a hold"
BAD = [
    ("/v1/hold", {}, "feature must be a string of 1 to 200 characters, and be given."),
    ("/v1/hold", {"feature": "claim", "units": 0}, UNITS),
    ("/v1/hold", {"feature": "claim", "units": 1.5}, UNITS),
    ("/v1/hold", {"feature": "claim", "units": None}, UNITS),
    ("/v1/hold", {"feature": "claim", "seconds": 0}, SECONDS),
    ("/v1/hold", {"feature": "claim", "seconds": 31 * 86_400 + 1}, SECONDS),
    ("/v1/hold", {"feature": "claim", "seconds": "60"}, SECONDS),
    (
        "/v1/hold",
        {"feature": "claim", "holdId": "x"},
        "There is no field 'holdId'; there are feature, customer, units, idempotencyKey, seconds.",
    ),
    ("/v1/capture", {}, HOLD_ID),
    ("/v1/capture", {"holdId": 7}, HOLD_ID),
    ("/v1/capture", {"holdId": ""}, HOLD_ID),
    ("/v1/capture", {"holdId": "x"}, NOT_ONE),
    ("/v1/void", {"holdId": "é"}, NOT_ONE),
    ("/v1/void", {"holdId": "MC4wLgA"}, NOT_ONE),
    ("/v1/extend", {"holdId": "x", "seconds": 60}, NOT_ONE),
    ("/v1/capture", {"holdId": "x", "units": 0}, UNITS),
    ("/v1/capture", {"holdId": "x", "units": -3}, UNITS),
    ("/v1/capture", {"holdId": "x", "final": "no"}, "final must be true or false."),
    (
        "/v1/void",
        {"holdId": "x", "units": 1},
        "There is no field 'units'; there are holdId, customer, idempotencyKey.",
    ),
    ("/v1/extend", {"holdId": "x"}, SECONDS),
    ("/v1/extend", {"holdId": "x", "seconds": 0}, SECONDS),
    (
        "/v1/void",
        {"holdId": "x", "idempotencyKey": "~x"},
        "idempotencyKey must be 1 to 200 printable characters and not begin with ~",
    ),
]


@pytest.mark.parametrize(("path", "said", "told"), BAD)
async def test_what_cannot_mean_anything_is_told_precisely(
    site: Site, path: str, said: dict[str, Any], told: str
) -> None:
    assert await refused(site, path, **said) == (400, "INVALID_INPUT", told)
    assert await accounts(site.core) == {"available": 40}


async def test_a_hold_that_is_not_there_or_another_s_reads_as_unknown(site: Site) -> None:
    held = await ok(site, "/v1/hold", feature="calls")
    consumed = await ok(site, "/v1/consume", feature="calls")
    unknown = (404, "NOT_FOUND", "The customer has no hold of this id.")
    for path, more in (("/v1/capture", {}), ("/v1/void", {}), ("/v1/extend", {"seconds": 900})):
        said = {"holdId": held["id"], **more}
        assert await refused(site, path, customer="globex", **said) == unknown
        assert await refused(site, path, **{**said, "holdId": consumed["id"]}) == unknown
        told = await refused(site, path, customer="nobody", **said)
        assert told[:2] == (404, "UNKNOWN_CUSTOMER")
    assert await site.used("calls") == 1


async def test_what_is_only_checked_or_not_there_cannot_be_held(site: Site) -> None:
    told = await refused(site, "/v1/hold", feature="export")
    assert told[:2] == (400, "INVALID_INPUT")
    told = await refused(site, "/v1/hold", feature="nothing")
    assert told == (404, "UNKNOWN_FEATURE", "the catalog has no feature 'nothing'")


async def test_only_services_hold(site: Site) -> None:
    held = await ok(site, "/v1/hold", feature="claim")
    token = site.token("acme", "check", "consume")

    def forbidden(answered: httpx.Response) -> str:
        assert (answered.status_code, answered.json()["code"]) == (403, "FORBIDDEN")
        return str(answered.json()["detail"])

    for path, said in (
        ("/v1/hold", {"feature": "claim"}),
        ("/v1/capture", {"holdId": held["id"]}),
        ("/v1/void", {"holdId": held["id"]}),
        ("/v1/extend", {"holdId": held["id"], "seconds": 900}),
    ):
        told = forbidden(await site.post(path, said, as_=token))
        assert told == "A customer's token does not reach this door."
        for scope in ("check", "support"):
            forbidden(await site.post(path, {"customer": "acme", **said}, as_=scope))
        assert (await site.client.get(path)).status_code == 405
    assert await accounts(site.core) == {"available": 35, "held": 5}


async def test_the_ledger_names_who_did_it(site: Site) -> None:
    await ok(site, "/v1/consume", feature="claim")
    held = [(await ok(site, "/v1/hold", feature="claim"))["id"] for _ in range(2)]
    await ok(site, "/v1/capture", holdId=held[0])
    await ok(site, "/v1/void", holdId=held[1])
    assert await actors(site.core) == [
        ("grant", "local:test"),
        ("spend", "key:consume"),
        ("hold", "key:consume"),
        ("hold", "key:consume"),
        ("capture", "key:consume"),
        ("release", "key:consume"),
    ]


async def test_every_answer_is_counted_by_door_and_outcome(site: Site) -> None:
    async def counted(door: str, outcome: str) -> int:
        line = f'headroom_decisions_total{{door="{door}",outcome="{outcome}"}} '
        lines = (await site.client.get("/metrics")).text.splitlines()
        return sum(int(float(one.removeprefix(line))) for one in lines if one.startswith(line))

    asked = [("hold", "granted"), ("hold", "INSUFFICIENT_CREDITS"), ("void", "HOLD_CLOSED")]
    before = [await counted(*one) for one in asked]
    held = await ok(site, "/v1/hold", feature="claim", units=8)
    await refused(site, "/v1/hold", feature="claim")
    await ok(site, "/v1/void", holdId=held["id"])
    await refused(site, "/v1/void", holdId=held["id"])
    assert [await counted(*one) for one in asked] == [times + 1 for times in before]


@pytest.mark.parametrize("feature", ["calls", "claim"])
async def test_of_a_capture_of_more_and_a_void_at_once_one_wins_whole(
    site: Site, feature: str
) -> None:
    taken = 0
    for _ in range(4):
        held = await ok(site, "/v1/hold", feature=feature)
        said = {"customer": "acme", "holdId": held["id"]}
        captured, voided = await asyncio.gather(
            site.post("/v1/capture", {**said, "units": 2}), site.post("/v1/void", said)
        )
        assert sorted([captured.status_code, voided.status_code]) == [200, 409]
        taken += 2 if captured.status_code == 200 else 0
        found = await site.core.holding.find("acme", held["id"])
        assert found is not None
        assert found.record.held == 0
    if feature == "calls":
        assert await site.used("calls") == taken
    else:
        moved = await accounts(site.core)
        assert [moved.get("available", 0), moved.get("spent", 0)] == [40 - 5 * taken, 5 * taken]
