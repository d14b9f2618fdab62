"""A life beside Stripe in which anything may happen next, and one comparison at its end.

Customers buy, change and leave, payments fail, weeks pass, deliveries are lost, doubled and
reordered, processes die at any await, Stripe answers 429, 500 or not at all. Then what is left is
delivered or lost, the outage ends, one reconciliation runs: and everything here is as Stripe says.
"""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.billing.actions import Ending, When
from api.billing.baskets import Basket
from api.infra.engines.throwaway import ThrowawayEngines
from tests.support.clock import FakeClock
from tests.support.stripe_agreement import Agreement
from tests.support.stripe_life import CUSTOMERS, StripeLife, stripe_life
from tests.support.stripe_says import OVER

T = TypeVar("T")

customers = st.sampled_from(CUSTOMERS)
picks = st.integers(0, 5)
plans = st.sampled_from(("starter", "pro"))
prices = st.sampled_from(("starter_monthly", "starter_yearly", "pro_monthly"))
cards = st.sampled_from(("ok", "ok", "ok", "fails", "authenticates"))
PLANS = (
    Basket(plan="starter", price="starter_monthly"),
    Basket(plan="starter", price="starter_yearly"),
    Basket(plan="pro", price="pro_monthly"),
    Basket(plan="starter", price="starter_monthly", add_ons=(("more_seats", 2),)),
)
PACKS = (Basket(pack="boost"), Basket(pack="boost", quantity=3), Basket(pack="gift"))
baskets = st.sampled_from(PLANS + PACKS)


class Life(RuleBasedStateMachine):
    """One life; what is done in it is done by ``StripeLife``."""

    admin_url: ClassVar[str] = ""
    template: ClassVar[str] = ""
    redis_url: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock(datetime(2026, 3, 10, 10, tzinfo=UTC))
        self.lose = self.fetch = False
        self.life: StripeLife = self.do(
            self.stack.enter_async_context(
                stripe_life(self.admin_url, self.template, self.redis_url, self.clock)
            )
        )

    def do(self, steps: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(steps)

    def live(self) -> list[str]:
        return [o["id"] for o in self.life.stripe.all("subscription") if o["status"] not in OVER]

    def sessions(self, *states: str) -> list[str]:
        every = self.life.stripe.all("checkout.session")
        return [one["id"] for one in every if one["status"] in states]

    def waiting_for_money(self) -> list[str]:
        return [
            one["id"]
            for one in self.life.stripe.all("checkout.session")
            if one["payment_intent"]
            and self.life.stripe.get(one["payment_intent"])["status"] == "processing"
        ]

    def charges(self) -> list[dict[str, Any]]:
        paid = self.life.stripe.all("charge")
        return [one for one in paid if one["status"] == "succeeded"]

    @initialize(
        lose=st.booleans(),
        fetch=st.booleans(),
        plan=st.sampled_from(PLANS),
        pack=st.sampled_from(PACKS),
        heard=st.booleans(),
    )
    def begin(self, *, lose: bool, fetch: bool, plan: Basket, pack: Basket, heard: bool) -> None:
        self.lose, self.fetch = lose, fetch
        self.buy("acme", plan, "ok", delayed=False)
        self.buy("globex", pack, "ok", delayed=False)
        if heard:
            self.hear()

    # Customers and support.

    @rule(customer=customers, basket=baskets)
    def open_checkout(self, customer: str, basket: Basket) -> None:
        self.do(self.life.checkout(customer, basket))

    @rule(customer=customers, basket=baskets, card=cards, delayed=st.booleans())
    def buy(self, customer: str, basket: Basket, card: str, *, delayed: bool) -> None:
        self.do(self.life.checkout(customer, basket))
        if opened := self.sessions("open"):
            self.life.finish(opened[-1], card, delayed=delayed)

    @precondition(lambda self: self.sessions("open"))
    @rule(pick=picks, card=cards, delayed=st.booleans())
    def finish_checkout(self, pick: int, card: str, *, delayed: bool) -> None:
        opened = self.sessions("open")
        self.life.finish(opened[pick % len(opened)], card, delayed=delayed)

    @precondition(lambda self: self.waiting_for_money())
    @rule(comes=st.booleans())
    def money(self, *, comes: bool) -> None:
        self.life.decide(self.waiting_for_money()[0], comes=comes)

    @precondition(lambda self: self.live())
    @rule(customer=customers, plan=plans, when=st.sampled_from(When))
    def change_plan(self, customer: str, plan: str, when: When) -> None:
        self.do(self.life.change_plan(customer, plan, when))

    @precondition(lambda self: self.live())
    @rule(customer=customers, ending=st.sampled_from(Ending))
    def cancel(self, customer: str, ending: Ending) -> None:
        self.do(self.life.cancel(customer, ending))

    @precondition(lambda self: self.live())
    @rule(customer=customers)
    def resume(self, customer: str) -> None:
        self.do(self.life.resume(customer))

    @precondition(lambda self: self.live())
    @rule(customer=customers, quantity=st.integers(0, 4))
    def set_add_on(self, customer: str, quantity: int) -> None:
        self.do(self.life.set_add_on(customer, quantity))

    # Stripe's own pages, and banks.

    @precondition(lambda self: self.live())
    @rule(pick=picks, price=prices)
    def swap_at_stripe(self, pick: int, price: str) -> None:
        live = self.live()
        self.life.swap(live[pick % len(live)], price)

    @precondition(lambda self: self.live())
    @rule(pick=picks, how=st.sampled_from(("now", "true", "false")))
    def cancel_at_stripe(self, pick: int, how: str) -> None:
        live = self.live()
        path = f"/v1/subscriptions/{live[pick % len(live)]}"
        if how == "now":
            self.life.at_stripe("DELETE", path)
        else:
            self.life.at_stripe("POST", path, cancel_at_period_end=how)

    @precondition(lambda self: self.live())
    @rule(pick=picks, card=cards)
    def other_card(self, pick: int, card: str) -> None:
        live = self.live()
        held = self.life.stripe.get(live[pick % len(live)])
        self.life.stripe.use_card(held["customer"], card)

    @rule(
        customer=customers,
        pick=picks,
        how=st.sampled_from(
            ("made", "deleted", "finalize", "pay", "void", "mark_uncollectible", "elsewhere")
        ),
    )
    def invoice_at_stripe(self, customer: str, pick: int, how: str) -> None:
        if how == "made":
            self.life.bill(customer)
            return
        # Stripe deletes no draft of a subscription.
        states = ("draft",) if how in ("deleted", "finalize") else ("draft", "open")
        fitting = [
            one["id"]
            for one in self.life.stripe.all("invoice")
            if one["status"] in states and (how != "deleted" or one["billing_reason"] == "manual")
        ]
        if fitting:
            self.life.at_invoice(fitting[-1 - pick % len(fitting)], how)

    @rule(fails=st.booleans())
    def bank(self, *, fails: bool) -> None:
        cards = self.life.stripe.payments
        if fails:
            cards.fail_always()
        else:
            cards.heal()

    @precondition(lambda self: self.charges())
    @rule(pick=picks, part=st.sampled_from((None, 1, 3)), ours=st.booleans())
    def refund(self, pick: int, part: int | None, *, ours: bool) -> None:
        paid = self.charges()
        charge = paid[-1 - pick % len(paid)]
        amount = None if part is None else charge["amount"] * part // 10
        if ours:
            self.do(self.life.refund(charge["payment_intent"], amount))
        else:
            more = {} if amount is None else {"amount": str(amount)}
            self.life.at_stripe("POST", "/v1/refunds", charge=charge["id"], **more)

    @precondition(lambda self: self.life.stripe.all("refund"))
    @rule(pick=picks)
    def refund_fails(self, pick: int) -> None:
        given = self.life.stripe.all("refund")
        self.life.stripe.fail_refund(given[pick % len(given)]["id"])

    @precondition(lambda self: self.charges())
    @rule(pick=picks, won=st.booleans())
    def dispute(self, pick: int, *, won: bool) -> None:
        """Open one, or decide the one that is open."""
        paid, disputes = self.charges(), self.life.stripe.disputes
        charge = paid[-1 - pick % len(paid)]["id"]
        opened = self.life.stripe.all("dispute", charge=charge)
        if not opened:
            disputes.open(charge)
        elif opened[-1]["status"] == "needs_response":
            disputes.close(opened[-1]["id"], "won" if won else "lost")

    @rule(hours=st.sampled_from((0.02, 1, 5, 24, 80, 200, 400, 750)))
    def time_passes(self, hours: float) -> None:
        self.life.stripe.advance(hours=hours)

    # Deliveries, processes, outages.

    @rule(scrambled=st.integers(0, 100), drop=st.sampled_from((0, 0.5, 1)))
    def scramble(self, scrambled: int, drop: float) -> None:
        self.life.scramble(scrambled, drop=drop)

    @rule(works=st.booleans())
    def hear(self, *, works: bool = True) -> None:
        self.do(self.life.deliver())
        if works:
            self.do(self.life.work())

    @rule(
        who=st.sampled_from(
            ("ask_again", "catch_up", "put_right", "reconcile", "sync", "claim", "work")
        )
    )
    def process(self, who: str) -> None:
        self.do(getattr(self.life, who)())

    @rule(places=st.integers(1, 40))
    def dies(self, places: int) -> None:
        self.life.dies_after = places

    @rule(
        times=st.integers(1, 3),
        how=st.sampled_from((429, 500, "before", "after", "outage")),
        writes=st.booleans(),
    )
    def fault(self, times: int, how: int | str, *, writes: bool) -> None:
        faults, method = self.life.stripe.faults, "POST" if writes else None
        if how == "outage":
            faults.outage = True
        elif isinstance(how, int):
            worked = how == 500 and not writes
            faults.fail_next(times, status=how, method=method, after_effect=worked)
        else:
            faults.cut_next(times, method=method, after_effect=how == "after")

    @precondition(lambda self: self.life.stripe.faults.outage)
    @rule()
    def outage_ends(self) -> None:
        self.life.stripe.faults.clear()

    def teardown(self) -> None:
        try:
            self.do(self.life.settle(lose=self.lose, fetch=self.fetch))
            self.do(Agreement(self.life.desk, self.life.stripe, CUSTOMERS).reached())
        finally:
            self.do(self.stack.aclose())
            self.runner.close()


def test_whatever_happens_one_reconciliation_later_all_is_as_stripe_says(
    engines: ThrowawayEngines, migrated_template: str, redis_url: str
) -> None:
    """HEADROOM_TEST_SEED tries other lives; what fails is printed as the steps that it takes."""
    Life.admin_url, Life.template = engines.database_url, migrated_template
    Life.redis_url = redis_url
    other = os.environ.get("HEADROOM_TEST_SEED")
    chosen = settings(
        max_examples=int(os.environ.get("HEADROOM_TEST_LIVES", "8")),
        stateful_step_count=40,
        derandomize=other is None,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    machine = Life if other is None else seed(int(other))(Life)
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:
        error.add_note("HEADROOM_TEST_SEED: " + (other or "unset, which is always the same"))
        raise
