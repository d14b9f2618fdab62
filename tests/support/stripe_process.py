"""A simulated Stripe in a process of its own, and a server beside it that sells there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.support.program import (
    CATALOG,
    HEADROOM,
    Ran,
    Server,
    environment,
    folder,
    run_here,
    serving,
)

RETURN = "https://app.example.com/billing"
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class StripeProcess:
    """The simulated Stripe, asked over HTTP by the test and by the program alike."""

    address: str

    def do(self, what: str, *given: object, **more: object) -> Any:  # noqa: ANN401 - any answer
        """Do what the simulation's method or attribute of this name does."""
        said = json.dumps({"do": what, "args": given, "with": more}).encode()
        return self._answer("/_sim", said)["result"]

    def post(self, path: str, **said: str | int) -> Any:  # noqa: ANN401 - any object
        """Do what somebody does at Stripe without Headroom."""
        return self._answer(path, urlencode(said).encode(), Authorization=f"Bearer {self.key}")

    @property
    def key(self) -> str:
        return str(self.do("key"))

    @property
    def writes(self) -> int:
        """How often it was asked to change anything."""
        return int(self.do("faults.asked", method="POST"))

    def price(self, key: str) -> str:
        return str(next(p["id"] for p in self.do("all", "price") if p["lookup_key"] == key))

    def subscribe(self, customer: str | None, price: str) -> str:
        """Let a customer, or one of whom nobody knows, subscribe; return the subscription."""
        named = {} if customer is None else {"headroom_customer": customer}
        buyer = self.do("customer", metadata=named)
        said: dict[str, str | int] = {"customer": buyer, "items[0][price]": self.price(price)}
        return str(self.post("/v1/subscriptions", **said)["id"])

    def subscription_of(self, customer: str) -> Any:  # noqa: ANN401 - an object
        """Return a customer's only subscription."""
        [buyer] = [
            one["id"]
            for one in self.do("all", "customer")
            if one["metadata"].get("headroom_customer") == customer
        ]
        [found] = self.do("all", "subscription", customer=buyer)
        return found

    def move(self, customer: str, price: str) -> str:
        """Let a customer change its plan on Stripe's own page; return the subscription."""
        held = self.subscription_of(customer)
        items = {
            "items[0][id]": held["items"]["data"][0]["id"],
            "items[0][price]": self.price(price),
        }
        self.post(f"/v1/subscriptions/{held['id']}", **items)
        return str(held["id"])

    def _answer(self, path: str, body: bytes, **head: str) -> Any:  # noqa: ANN401 - any answer
        asked = Request(f"{self.address}{path}", body, head)  # noqa: S310 - loopback
        with urlopen(asked, timeout=30) as answer:  # noqa: S310 - likewise
            return json.load(answer)


@dataclass(frozen=True)
class Selling:
    """A server without a worker of its own, so that what happens in the background is told."""

    server: Server
    stripe: StripeProcess

    def run(self, *said: str) -> Ran:
        """Run one command of an operator."""
        return run_here(*said, data_dir=self.server.data_dir, **self.settings)

    def without_a_key(self, *said: str) -> Ran:
        """Run one where no key of Stripe is set."""
        return run_here(*said, data_dir=self.server.data_dir)

    def done(self, *said: str) -> Any:  # noqa: ANN401 - JSON
        """Run one that has to succeed; return its JSON."""
        ran = self.run(*said, "--json")
        assert ran.status == 0, ran
        return ran.said

    @property
    def settings(self) -> dict[str, str]:
        return settings_of(self.stripe)

    def deliver(self) -> None:
        """Let Stripe deliver all that waits, really signed."""
        answers = self.stripe.do("deliver", f"{self.server.address}/webhooks/stripe")
        assert set(answers) <= {200}, answers

    def plan(self, customer: str) -> str:
        return str(self.done("customers", "show", customer)["plan"])

    def work_until(self, condition: Callable[[], bool]) -> None:
        """Let a worker run until something holds."""
        data_dir = {"HEADROOM_DATA_DIR": str(self.server.data_dir)}
        with (
            self.server.errors.open("a") as errors,
            subprocess.Popen(  # noqa: S603 - our own program
                [HEADROOM, "worker"],
                env=environment(**self.settings, **data_dir),
                stderr=errors,
            ) as worker,
        ):
            try:
                deadline = time.monotonic() + PATIENCE_SECONDS
                while not condition():
                    assert time.monotonic() < deadline, self.server.errors.read_text()[-5_000:]
            finally:
                worker.terminate()


def settings_of(stripe: StripeProcess) -> dict[str, str]:
    """Return what a server and its commands are told of this Stripe."""
    return {
        "STRIPE_SECRET_KEY": stripe.key,
        "STRIPE_API_BASE": stripe.address,
        "STRIPE_WEBHOOK_SECRET": stripe.do("webhooks.secret"),
        "BILLING_RETURN_URL": RETURN,
    }


@contextmanager
def stripe_process() -> Iterator[StripeProcess]:
    """Run a simulated Stripe for the length of the block, by the machine's clock."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stripe_sim"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield StripeProcess(process.stdout.readline().strip())
        finally:
            process.terminate()


@contextmanager
def selling() -> Iterator[Selling]:
    """Run both, with the catalog on Stripe's shelf."""
    with (
        stripe_process() as stripe,
        folder() as data_dir,
        serving(
            data_dir, "--catalog", str(CATALOG), "--no-worker", **settings_of(stripe)
        ) as server,
    ):
        made = Selling(server, stripe)
        made.done("catalog", "push", "--execute", "--reason", "a test")
        yield made
