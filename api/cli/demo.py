"""``headroom demo``: one customer's life, through the public doors of a running server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn

import orjson
import typer

from api.billing.stripe_door import StripeDoor
from api.cli import development
from api.cli.demo_events import StripeLife, signed
from api.cli.development import Development
from api.cli.http_client import Answer, Client
from api.cli.options import DataDir
from api.cli.output import say
from api.cli.running import on_core, settings_here
from api.domain.errors import HeadroomError, Unavailable
from api.infra.settings import Settings

PATIENCE_SECONDS = 10.0
NOON = 12

ANALYSES_FREE = 50
POSTS_STARTER = 300
STARTER_MINOR, PRO_MINOR = 4900, 9900


class Differs(HeadroomError):
    """The server did something else than a customer was promised."""


def demo(
    *,
    address: Annotated[
        str | None, typer.Option("--url", help="The server; by default the one on the data folder.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Play one customer's life against a 'serve --dev': refused, subscribed, upgraded, cancelled.

    Exits with 1 if anything differs from what the catalog promises.
    """
    settings = settings_here()
    _expect_no_key(settings)
    made = on_core(data_dir, lambda core: development.find(core.database))
    if made is None:
        raise Unavailable("This server was not started with 'headroom serve --dev' (make run).")
    now = datetime.now(UTC)
    client = Client(address or made.address)
    try:
        Life(client, made, now).play()
    finally:
        client.close()
    say("\nEverything was as promised.")


class Life:
    """The steps, in order; each tells what was asked and answered, and expects what it says."""

    def __init__(self, client: Client, made: Development, now: datetime) -> None:
        self._client = client
        self._made = made
        self._customer = f"demo-{secrets.token_hex(4)}"
        self._zone = zone_at_noon(now)
        version = StripeDoor(secrets=()).version
        # A little in the past, so that each event is newer than the one before, and none is of
        # the future.
        self._stripe = StripeLife(self._customer, version, now - timedelta(seconds=60))
        self._steps = 0

    def play(self) -> None:
        """Play the whole life. Raises: Differs, Unavailable."""
        self._begins()
        self._uses_up_the_day()
        self._subscribes()
        self._uses_up_the_month()
        self._upgrades()
        self._cancels()

    def _begins(self) -> None:
        self._step(f"A new customer, {self._customer}, in {self._zone}, where it is mid-day")
        query = (
            "mutation ($input: CustomerInput!) { upsertCustomer(input: $input) "
            "{ key plan { key } } }"
        )
        given = {"key": self._customer, "name": "Demo", "timezone": self._zone}
        said = self._graphql(query, {"input": given})["upsertCustomer"]
        self._expect(said, {"key": self._customer, "plan": {"key": "free"}})

    def _uses_up_the_day(self) -> None:
        self._step(f"{ANALYSES_FREE} analyses pass, the next is refused until tomorrow")
        last = self._consume_many("tx_analyze", ANALYSES_FREE)
        self._expect(last.said["windows"][0]["remaining"], 0)
        refused = self._consume("tx_analyze", tell=True)
        self._refused(refused, 429, "FREE_CAP_EXCEEDED", {"limit": ANALYSES_FREE})
        self._expect("retry-after" in refused.headers, wanted=True)
        self._step("Posting is not part of the free plan")
        refused = self._consume("tx_post", tell=True)
        self._refused(refused, 402, "FEATURE_NOT_IN_PLAN", {})
        self._expect("starter" in refused.said["unlockedBy"], wanted=True)

    def _subscribes(self) -> None:
        self._step("It subscribes by checkout")
        self._deliver(self._stripe.checks_out("starter", STARTER_MINOR))
        self._wait_for_plan("starter")

    def _uses_up_the_month(self) -> None:
        self._step(f"It posts {POSTS_STARTER} transactions; the next would need a larger plan")
        self._consume_many("tx_post", POSTS_STARTER)
        refused = self._consume("tx_post", tell=True)
        self._refused(refused, 402, "MONTHLY_CAP_EXCEEDED", {"limit": POSTS_STARTER})
        self._expect("pro" in refused.said["unlockedBy"], wanted=True)

    def _upgrades(self) -> None:
        self._step("It upgrades, and posts that transaction; what was used stays used")
        self._deliver(self._stripe.changes_to("pro", PRO_MINOR - STARTER_MINOR))
        self._wait_for_plan("pro")
        passed = self._consume("tx_post", tell=True)
        self._expect(passed.status, 200)
        self._expect(passed.said["windows"][0]["used"], POSTS_STARTER + 1)

    def _cancels(self) -> None:
        self._step("It cancels, and is back on the free plan, whose day is still used up")
        self._deliver(self._stripe.is_cancelled())
        self._wait_for_plan("free")
        refused = self._consume("tx_post", tell=True)
        self._refused(refused, 402, "FEATURE_NOT_IN_PLAN", {})
        refused = self._consume("tx_analyze", tell=True)
        self._refused(refused, 429, "FREE_CAP_EXCEEDED", {"limit": ANALYSES_FREE})

    def _consume_many(self, feature: str, times: int) -> Answer:
        answer = self._consume(feature, tell=True)
        for _ in range(times - 1):
            self._expect(answer.status, 200)
            answer = self._consume(feature, tell=False)
        self._expect(answer.status, 200)
        say(f"   … {times} times, the last: {_brief(answer)}")
        return answer

    def _consume(self, feature: str, *, tell: bool) -> Answer:
        said = {"customer": self._customer, "feature": feature}
        answer = self._post("/v1/consume", said, self._made.consume_key)
        if tell:
            say(f"   POST /v1/consume {orjson.dumps(said).decode()}")
            say(f"     {_brief(answer)}")
        return answer

    def _refused(self, answer: Answer, status: int, code: str, facts: dict[str, object]) -> None:
        self._expect(answer.status, status)
        self._expect(answer.said.get("code"), code)
        for name, value in facts.items():
            self._expect(answer.said.get(name), value)

    def _deliver(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            body, signature = signed(event, self._made.webhook_secret, datetime.now(UTC))
            answer = self._client.post("/webhooks/stripe", body, {"Stripe-Signature": signature})
            say(f"   POST /webhooks/stripe {event['type']}")
            say(f"     {answer.status}")
            self._expect(answer.status, 200)

    def _wait_for_plan(self, plan: str) -> None:
        """Wait until the record says so, and whoever decides has been told of it."""
        query = (
            "query ($key: String!) { customer(key: $key) { plan { key } }"
            ' check(customer: $key, feature: "tx_post") { allowed } }'
        )
        began = time.monotonic()
        while True:
            said = self._graphql(query, {"key": self._customer}, tell=False)
            found = said["customer"]["plan"]["key"]
            waited = time.monotonic() - began
            if found == plan and said["check"]["allowed"] == (plan != "free"):
                say(f"   plan {plan}, {waited:.2f} s after the events were acknowledged")
                return
            if waited > PATIENCE_SECONDS:
                self._differs(found, plan)
            time.sleep(0.02)

    def _graphql(self, query: str, variables: dict[str, Any], *, tell: bool = True) -> Any:  # noqa: ANN401
        said = {"query": query, "variables": variables}
        answer = self._post("/graphql", said, self._made.admin_key)
        if tell:
            say(f"   POST /graphql {query} {orjson.dumps(variables).decode()}")
            say(f"     {answer.status} {orjson.dumps(answer.said).decode()}")
        self._expect(answer.said.get("errors"), None)
        return answer.said["data"]

    def _post(self, path: str, said: object, key: str) -> Answer:
        bearer = {"Authorization": f"Bearer {key}"}
        answer = self._client.post(path, orjson.dumps(said), bearer)
        if not isinstance(answer.said, dict):
            self._differs(answer.said, "a JSON object")
        return answer

    def _step(self, title: str) -> None:
        self._steps += 1
        say(f"\n{self._steps}. {title}")

    def _expect(self, found: object, wanted: object) -> None:
        if found != wanted:
            self._differs(found, wanted)

    def _differs(self, found: object, wanted: object) -> NoReturn:
        raise Differs(
            f"In step {self._steps} the server says {found!r}, and {wanted!r} was promised."
        )


def zone_at_noon(now: datetime) -> str:
    """Return a time zone in which it is nearly noon: half a day from any midnight or month end."""
    east = NOON - now.hour
    # The names of these zones count to the west.
    return "Etc/GMT" if east == 0 else f"Etc/GMT{-east:+d}"


def _expect_no_key(settings: Settings) -> None:
    if settings.stripe_live:
        raise Unavailable("STRIPE_SECRET_KEY is a live key. The demo never runs beside one.")
    if settings.stripe_secret_key is not None:
        raise Unavailable(
            "With STRIPE_SECRET_KEY the server asks Stripe what is true, and the demo's events are "
            "of nothing there. Start the server, and the demo, without it."
        )


def _brief(answer: Answer) -> str:
    said = answer.said
    if answer.status == 200:  # noqa: PLR2004 - HTTP's own
        figure = said["windows"][0]
        return f"200 {figure['window']} {figure['used']} of {figure['limit']}"
    help_ = f", unlocked by {', '.join(said['unlockedBy'])}" if said.get("unlockedBy") else ""
    retry = answer.headers.get("retry-after")
    wait = "" if retry is None else f", Retry-After {retry}"
    return f"{answer.status} {said.get('code')}: {said.get('detail')}{help_}{wait}"
