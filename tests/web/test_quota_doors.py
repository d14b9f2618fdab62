"""The three gates over HTTP: what is answered, and in which fields."""

from tests.support.site import Site

NO_MORE = {"customer": "acme", "feature": "calls"}


async def test_consume_answers_what_was_counted_and_what_is_left(site: Site) -> None:
    answered = await site.post("/v1/consume", {"customer": "acme", "feature": "calls", "units": 2})
    assert answered.status_code == 200
    said = answered.json()
    assert said.pop("id")
    assert said == {
        "customer": "acme",
        "feature": "calls",
        "units": 2,
        "windows": [
            {
                "window": "DAY",
                "limit": 5,
                "used": 2,
                "held": 0,
                "remaining": 3,
                "startsAt": "2026-03-10T00:00:00Z",
                "resetsAt": "2026-03-11T00:00:00Z",
                "shadow": False,
                "overage": False,
            },
            {
                "window": "MONTH",
                "limit": 50,
                "used": 2,
                "held": 0,
                "remaining": 48,
                "startsAt": "2026-03-01T00:00:00Z",
                "resetsAt": "2026-04-01T00:00:00Z",
                "shadow": False,
                "overage": False,
            },
        ],
        "replayed": False,
        "degraded": False,
    }
    assert answered.headers["content-type"] == "application/json"
    policy = '"calls/day";q=5;w=86400, "calls/month";q=50;w=2678400'
    assert answered.headers["ratelimit-policy"] == policy
    assert answered.headers["ratelimit"] == '"calls/day";r=3;t=50400, "calls/month";r=48;t=1864800'
    assert "retry-after" not in answered.headers


async def test_a_full_day_is_a_true_429_that_says_everything(site: Site) -> None:
    await site.post("/v1/consume", {**NO_MORE, "units": 5})
    answered = await site.post("/v1/consume", NO_MORE)
    assert answered.status_code == 429
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.headers["retry-after"] == "50400"
    assert answered.headers["ratelimit"] == '"calls/day";r=0;t=50400'
    said = answered.json()
    windows = said.pop("windows")
    assert [(w["window"], w["used"], w["remaining"]) for w in windows] == [
        ("DAY", 5, 0),
        ("MONTH", 5, 45),
    ]
    detail = said.pop("detail")
    assert said.pop("message") == detail
    assert "Calls: 5 of 5 used today" in detail
    assert said == {
        "type": "/docs/errors/FREE_CAP_EXCEEDED.md",
        "title": "Free cap exceeded",
        "status": 429,
        "allowed": False,
        "code": "FREE_CAP_EXCEEDED",
        "customer": "acme",
        "feature": "calls",
        "units": 1,
        "window": "DAY",
        "limit": 5,
        "used": 5,
        "held": 0,
        "remaining": 0,
        "resetsAt": "2026-03-11T00:00:00Z",
        "retryAfterSeconds": 50400,
        "maxUnitsNow": 0,
        "unlockedBy": ["pro"],
        "unlockedByPacks": [],
        "degraded": False,
        "docs": "errors/FREE_CAP_EXCEEDED.md",
    }
    assert await site.used("calls") == 5


async def test_a_full_month_that_another_plan_would_allow_is_a_402(site: Site) -> None:
    asked = {"customer": "acme", "feature": "posts", "units": 11}
    for path in ("/v1/check", "/v1/consume"):
        answered = await site.post(path, asked)
        assert answered.status_code == 402
        said = answered.json()
        assert (said["code"], said["unlockedBy"]) == ("MONTHLY_CAP_EXCEEDED", ["pro"])
        assert said["maxUnitsNow"] == 10
    assert await site.used("posts") == 0


async def test_what_no_plan_has_is_a_403_and_what_another_plan_has_a_402(site: Site) -> None:
    nowhere = await site.post("/v1/consume", {"customer": "acme", "feature": "secret_door"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (403, "FEATURE_UNAVAILABLE")
    assert "ratelimit" not in nowhere.headers
    elsewhere = await site.post("/v1/check", {"customer": "acme", "feature": "export"})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (402, "FEATURE_NOT_IN_PLAN")
    for denied in (nowhere, elsewhere):
        assert "retry-after" not in denied.headers


async def test_a_lifetime_that_nothing_helps_is_a_403_without_a_promise(site: Site) -> None:
    await site.post("/v1/consume", {"customer": "acme", "feature": "stamps", "units": 3})
    answered = await site.post("/v1/consume", {"customer": "acme", "feature": "stamps"})
    assert (answered.status_code, answered.json()["code"]) == (403, "LIFETIME_CAP_EXCEEDED")
    assert answered.headers["ratelimit-policy"] == '"stamps/lifetime";q=3'
    assert answered.headers["ratelimit"] == '"stamps/lifetime";r=0'
    assert "retry-after" not in answered.headers


async def test_check_answers_with_every_fact_and_counts_nothing(site: Site) -> None:
    answered = await site.post("/v1/check", {"customer": "acme", "feature": "calls", "units": 5})
    assert answered.status_code == 200
    said = answered.json()
    assert said["allowed"] is True
    assert (said["status"], said["code"], said["maxUnitsNow"]) == (200, None, 5)
    assert said["windows"][0]["used"] == 0
    assert await site.used("calls") == 0


async def test_units_may_be_digits_in_a_string(site: Site) -> None:
    for units in ("2", 2.0):
        asked = {"customer": "acme", "feature": "posts", "units": units}
        assert (await site.post("/v1/consume", asked)).json()["units"] == 2
    assert await site.used("posts") == 4


async def test_the_same_name_of_an_operation_counts_once_by_header_or_body(site: Site) -> None:
    asked = {"customer": "acme", "feature": "calls", "units": 2}
    named = {"Idempotency-Key": "order-7"}
    first = await site.post("/v1/consume", asked, headers=named)
    again = await site.post("/v1/consume", {**asked, "idempotencyKey": "order-7"})
    quoted = await site.post("/v1/consume", asked, headers={"Idempotency-Key": '"order-7"'})
    assert [r.json()["replayed"] for r in (first, again, quoted)] == [False, True, True]
    assert first.json()["id"] == again.json()["id"] == quoted.json()["id"]
    assert await site.used("calls") == 2
    other = await site.post("/v1/consume", {**asked, "units": 1}, headers=named)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


async def test_an_allocation_is_given_back_and_never_below_zero(site: Site) -> None:
    sites = {"customer": "acme", "feature": "sites"}
    await site.post("/v1/consume", {**sites, "units": 2})
    full = await site.post("/v1/consume", sites)
    assert (full.status_code, full.json()["code"]) == (402, "ALLOCATION_EXCEEDED")
    released = await site.post("/v1/release", sites)
    assert released.status_code == 200
    assert released.json()["windows"][0]["used"] == 1
    below = await site.post("/v1/release", {**sites, "units": 2})
    assert (below.status_code, below.json()["code"]) == (400, "INVALID_INPUT")
    assert await site.used("sites") == 1


async def test_a_release_of_a_consumption_gives_back_what_that_took_and_no_more(site: Site) -> None:
    asked = {"customer": "acme", "feature": "calls"}
    counted = (await site.post("/v1/consume", {**asked, "units": 3})).json()
    await site.post("/v1/consume", asked)
    give = {**asked, "units": 3, "consumptionId": counted["id"]}
    assert (await site.post("/v1/release", give)).status_code == 200
    assert await site.used("calls") == 1
    assert (await site.post("/v1/release", give)).status_code == 400
    assert await site.used("calls") == 1


async def test_a_release_names_the_feature_that_the_consumption_took(site: Site) -> None:
    counted = (await site.post("/v1/consume", {"customer": "acme", "feature": "calls"})).json()
    await site.post("/v1/consume", {"customer": "acme", "feature": "sites"})
    token = site.token("acme", "consume")
    for feature, as_ in (("posts", "consume"), ("sites", "consume"), ("sites", token)):
        asked = {"customer": "acme", "feature": feature, "consumptionId": counted["id"]}
        refused = await site.post("/v1/release", asked, as_=as_)
        assert (refused.status_code, refused.json()["detail"]) == (
            400,
            "consumptionId names a consumption of another feature",
        )
    assert [await site.used("calls"), await site.used("sites")] == [1, 1]


async def test_a_release_may_bear_the_name_of_its_consumption(site: Site) -> None:
    asked = {"customer": "acme", "feature": "calls", "units": 2, "idempotencyKey": "order-7"}
    counted = (await site.post("/v1/consume", asked)).json()
    give = {**asked, "consumptionId": counted["id"]}
    answered = [(await site.post("/v1/release", give)).json()["replayed"] for _ in range(2)]
    assert answered == [False, True]
    assert await site.used("calls") == 0


async def test_a_token_reads_and_uses_its_own_customer_only(site: Site) -> None:
    token = site.token("acme", "consume")
    own = await site.post("/v1/consume", {"feature": "calls"}, as_=token)
    assert own.json()["customer"] == "acme"
    named = await site.post("/v1/check", {"feature": "calls", "customer": "acme"}, as_=token)
    assert named.status_code == 200
    for path in ("/v1/check", "/v1/consume", "/v1/release"):
        exists = await site.post(path, {"feature": "sites", "customer": "globex"}, as_=token)
        nobody = await site.post(path, {"feature": "sites", "customer": "nobody"}, as_=token)
        assert exists.status_code == nobody.status_code == 404
        assert exists.json()["code"] == nobody.json()["code"] == "UNKNOWN_CUSTOMER"
        assert exists.text.replace("globex", "nobody") == nobody.text
    assert await site.used("calls", "globex") == 0


async def test_an_unknown_customer_reads_the_same_to_a_token_and_a_key(site: Site) -> None:
    asked = {"feature": "calls", "customer": "nobody"}
    by_key = await site.post("/v1/check", asked)
    by_token = await site.post("/v1/check", asked, as_=site.token("acme"))
    assert by_key.json() == by_token.json()


async def test_a_token_not_minted_for_it_changes_nothing(site: Site) -> None:
    token = site.token("acme")
    for path in ("/v1/consume", "/v1/release"):
        refused = await site.post(path, {"feature": "sites"}, as_=token)
        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert await site.used("sites") == 0


async def test_a_token_never_gives_back_what_was_used(site: Site) -> None:
    token = site.token("acme", "consume")
    counted = (await site.post("/v1/consume", {"feature": "calls", "units": 2}, as_=token)).json()
    for more in ({}, {"consumptionId": counted["id"]}):
        refused = await site.post("/v1/release", {"feature": "calls", **more}, as_=token)
        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert await site.used("calls") == 2
    await site.post("/v1/consume", {"feature": "sites"}, as_=token)
    assert (await site.post("/v1/release", {"feature": "sites"}, as_=token)).status_code == 200


async def test_each_scope_opens_the_doors_it_should(site: Site) -> None:
    asked = {"customer": "acme", "feature": "sites"}
    found = {
        scope: [
            (await site.post(path, asked, as_=scope)).status_code
            for path in ("/v1/check", "/v1/consume", "/v1/release")
        ]
        for scope in ("check", "consume", "support", "admin")
    }
    assert found == {
        "check": [200, 403, 403],
        "consume": [200, 200, 200],
        "support": [200, 403, 403],
        "admin": [200, 200, 200],
    }


async def test_a_revoked_key_is_refused_within_five_seconds(site: Site) -> None:
    asked = {"customer": "acme", "feature": "calls"}
    assert (await site.post("/v1/check", asked)).status_code == 200
    await site.core.database.execute("update api_keys set revoked_at = $1", site.clock.now())
    site.clock.advance(seconds=5.001)
    refused = await site.post("/v1/check", asked)
    assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
    assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_every_answer_is_counted_by_its_outcome(site: Site) -> None:
    async def count(outcome: str) -> float:
        line = f'headroom_decisions_total{{door="consume",outcome="{outcome}"}} '
        shown = (await site.client.get("/metrics")).text.splitlines()
        return sum(float(x.split()[-1]) for x in shown if line in x)

    outcomes = ("granted", "FREE_CAP_EXCEEDED", "INVALID_INPUT", "UNAUTHENTICATED")
    before = [await count(outcome) for outcome in outcomes]
    await site.post("/v1/consume", {**NO_MORE, "units": 5})
    await site.post("/v1/consume", NO_MORE)
    await site.post("/v1/consume", {**NO_MORE, "units": 0})
    await site.post("/v1/consume", NO_MORE, as_=None)
    assert [await count(outcome) for outcome in outcomes] == [figure + 1 for figure in before]
