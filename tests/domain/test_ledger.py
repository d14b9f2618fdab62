"""The pure ledger: what holds of it after every operation, and the rules one by one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.domain.catalog import Bucket, CreditCost
from api.domain.credits import Grant
from api.domain.holds import Change, Item, Verdict
from api.domain.ledger import MOVES, Ledger, Operation, Paid

NOW = datetime(2026, 3, 10, 10, tzinfo=UTC)
COST = CreditCost("chat", 3, per=2)
ACCOUNTS = {account for pair in MOVES.values() for account in pair}


def after(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def said(name: str, *, contents: str = "", at: datetime = NOW) -> Operation:
    return Operation(name, contents, at, at + timedelta(hours=1))


def filled(*units: int, ends: datetime | None = None) -> Ledger:
    ledger = Ledger()
    for number, amount in enumerate(units):
        grant = Grant(number, Bucket.PERMANENT, number, NOW, NOW, ends)
        assert ledger.give(grant, f"s{number}", amount)
    return ledger


def chat(units: int, credits_: int, *, charged: int | None = None) -> Item:
    return Item("chat", units, units if charged is None else charged, credits_)


def moves(ledger: Ledger) -> list[tuple[object, ...]]:
    return [tuple(entry[:3]) for entry in ledger.entries if entry.kind != "grant"]


def test_a_source_is_given_for_once() -> None:
    ledger = filled(10)
    assert not ledger.give(Grant(5, Bucket.PERMANENT, 0, NOW, NOW), "s0", 10)
    assert ledger.balance(NOW) == 10


def test_a_charge_is_whole_or_nothing() -> None:
    ledger = filled(4, 10)
    paid = ledger.charge(said("a"), "~a", [chat(1, 3), chat(1, 6)])
    assert (paid.verdict, paid.credits, paid.balance) == (Verdict.DONE, 9, 5)
    assert paid.paid == tuple(Paid("chat", Bucket.PERMANENT, n) for n in (3, 1, 5))
    refused = ledger.charge(said("b"), "~b", [chat(1, 5), chat(1, 1)])
    assert (refused.verdict, refused.balance) == (Verdict.INSUFFICIENT, 5)
    assert moves(ledger) == [("spend", 0, 3), ("spend", 0, 1), ("spend", 1, 5)]
    assert ledger.usage == {("chat", "units"): 2, ("chat", "charged"): 2}


def test_a_name_counts_once_until_its_replay_period_ends_and_a_refusal_is_not_kept() -> None:
    ledger = filled(10)
    assert ledger.charge(said("a"), "~0", [chat(1, 20)]).verdict is Verdict.INSUFFICIENT
    first = ledger.charge(said("a"), "~1", [chat(1, 3)])
    again = ledger.charge(said("a", at=after(59)), "~2", [chat(1, 3)])
    assert (again.verdict, again.attempt, again[1:3]) == (Verdict.REPLAYED, "~1", first[1:3])
    other = ledger.charge(said("a", contents="other"), "~3", [chat(1, 4)])
    assert other.verdict is Verdict.CONFLICT
    assert ledger.balance(NOW) == 7
    later = ledger.charge(said("a", contents="other", at=after(60)), "~4", [chat(1, 4)])
    assert (later.verdict, later.balance) == (Verdict.DONE, 3)


def held(ledger: Ledger, units: int = 8, charged: int = 6, credits_: int = 9) -> None:
    item = chat(units, credits_, charged=charged)
    decision = ledger.charge(said("h"), "h", [item], (after(30), COST))
    assert decision.verdict is Verdict.DONE


def test_a_hold_is_captured_in_parts_and_the_included_units_go_first() -> None:
    ledger = filled(5, 20)
    held(ledger)
    spent = []
    for name, units in (("1", 2), ("2", 1), ("3", 2), ("4", None)):
        told = ledger.resolve(said(name), Change("capture", "h", units, final=False))
        assert told.hold is not None
        spent.append((told.hold.captured, told.hold.spent, told.hold.state))
    assert spent == [(2, 0, "open"), (3, 2, "open"), (5, 5, "open"), (8, 9, "captured")]
    assert moves(ledger)[2:] == [("capture", 0, 2), ("capture", 0, 3), ("capture", 1, 4)]
    assert ledger.usage["chat", "units"] == 8


def test_a_final_capture_gives_back_the_rest_and_ends_it_for_good() -> None:
    ledger = filled(5, 20)
    held(ledger)
    told = ledger.resolve(said("1"), Change("capture", "h", 4))
    assert told.hold is not None
    assert (told.hold.state, told.hold.spent) == ("captured", 3)
    assert moves(ledger)[2:] == [("capture", 0, 3), ("release", 0, 2), ("release", 1, 4)]
    assert (ledger.usage["chat", "units"], ledger.usage["chat", "charged"]) == (4, 2)
    again = ledger.resolve(said("1"), Change("capture", "h", 4))
    assert again == (Verdict.REPLAYED, told.hold)
    for kind in ("capture", "void", "extend", "expire"):
        ended = ledger.resolve(said(kind, at=after(99)), Change(kind, "h", until=after(120)))
        assert ended.verdict is Verdict.RESOLVED


@pytest.mark.parametrize(
    ("change", "minutes", "verdict"),
    [
        (Change("capture", "h", 9), 29, Verdict.TOO_MUCH),
        (Change("capture", "h", 8), 29, Verdict.DONE),
        (Change("capture", "h", 8), 30, Verdict.EXPIRED),
        (Change("extend", "h", until=after(30)), 0, Verdict.NOT_LATER),
        (Change("extend", "h", until=after(31)), 0, Verdict.DONE),
        (Change("extend", "h", until=after(99)), 30, Verdict.EXPIRED),
        (Change("expire", "h"), 29, Verdict.NOT_LATER),
        (Change("expire", "h"), 30, Verdict.DONE),
        (Change("void", "h"), 99, Verdict.DONE),
        (Change("void", "x"), 0, Verdict.UNKNOWN),
    ],
)
def test_a_hold_may_change_so_long_as_it_stands(
    change: Change, minutes: int, verdict: Verdict
) -> None:
    ledger = filled(5, 20)
    held(ledger)
    told = ledger.resolve(said("1", at=after(minutes)), change)
    assert told.verdict is verdict
    if change.kind in {"void", "expire"} and verdict is Verdict.DONE:
        assert (ledger.balance(NOW), ledger.usage["chat", "units"]) == (25, 0)


def test_what_comes_back_to_an_ended_grant_expires_by_another_entry() -> None:
    ledger = filled(20, ends=after(10))
    held(ledger)
    ledger.expire_grants(after(10))
    ledger.resolve(said("1", at=after(11)), Change("void", "h"))
    assert ledger.balance(after(11)) == 0
    ledger.expire_grants(after(11))
    ledger.expire_grants(after(12))
    assert [entry for entry in moves(ledger) if entry[0] == "expire"] == [
        ("expire", 0, 11),
        ("expire", 0, 9),
    ]


def test_only_what_is_available_is_taken_and_only_what_was_taken_is_restored() -> None:
    ledger = filled(20, 5)
    held(ledger)
    assert ledger.revoke(0, 30, "r") == 11
    assert ledger.restore(0, 4, "r") == 4
    assert ledger.restore(0, 30, "r") == 7
    assert not ledger.take(17, "t", NOW)
    assert ledger.take(16, "t", NOW)
    assert ledger.balance(NOW) == 0
    assert ledger.account(0, "held") == 9


@given(steps=st.lists(st.integers(0, 10), min_size=1, max_size=6))
def test_giving_back_bit_by_bit_comes_to_the_same_as_at_once(steps: list[int]) -> None:
    little, whole = filled(4, 3, 9), filled(4, 3, 9)
    kept = sorted(steps, reverse=True)
    for ledger, stops in ((little, kept), (whole, kept[-1:])):
        ledger.charge(said("a"), "~a", [chat(10, 13)])
        for stays in stops:
            ledger.give_back("~a", "chat", kept=stays, charged=10)
    assert little.balance(NOW) == whole.balance(NOW) == 16 - -(-13 * kept[-1] // 10)
    accounts = [(grant, name) for grant in range(3) for name in ("available", "spent")]
    assert [little.account(*a) for a in accounts] == [whole.account(*a) for a in accounts]


numbers = st.integers(0, 3)
amounts = st.integers(1, 30)
STEPS: tuple[Callable[[Ledger, int, int, datetime], object], ...] = (
    lambda ledger, n, x, at: ledger.give(
        Grant(len(ledger.grants), Bucket.PERMANENT, n, at, at, at + timedelta(minutes=9 * x)),
        f"{n}-{x}",
        x,
    ),
    lambda ledger, n, x, at: ledger.charge(
        said(f"c{n}-{x}", at=at), f"~{len(ledger.entries)}-{x}", [chat(x, x)]
    ),
    lambda ledger, n, x, at: (
        ledger.charge(
            said(f"h{n}-{x}", at=at), f"{n}", [chat(x, x)], (at + timedelta(minutes=x), COST)
        )
        if str(n) not in ledger.holds
        else None
    ),
    lambda ledger, n, x, at: ledger.resolve(
        said(f"r{x}", at=at), Change("capture", f"{n}", x // 3, final=x > 15)
    ),
    lambda ledger, n, x, at: ledger.resolve(said(f"v{x}", at=at), Change("void", f"{n}")),
    lambda ledger, n, _, at: ledger.revoke(n, None, "r") if n in ledger.grants else at,
    lambda ledger, n, x, _: ledger.restore(n, x, "r"),
    lambda ledger, _, __, at: ledger.expire_grants(at),
    lambda ledger, _, x, at: ledger.take(x, "t", at),
)


@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), numbers, amounts), max_size=40))
def test_whatever_is_done_all_postings_sum_to_zero_and_nothing_is_negative(
    steps: list[tuple[Callable[[Ledger, int, int, datetime], object], int, int]],
) -> None:
    ledger = Ledger()
    for minute, (step, number, amount) in enumerate(steps):
        before = list(ledger.entries)
        step(ledger, number, amount, after(minute))
        assert ledger.entries[: len(before)] == before
    for grant in ledger.grants:
        of = {name: ledger.account(grant, name) for name in ACCOUNTS}
        assert sum(of.values()) == 0
        assert min(of[name] for name in ACCOUNTS - {"issued"}) >= 0
        for name in ACCOUNTS:
            mine = [(e.amount, *MOVES[e.kind]) for e in ledger.entries if e.grant == grant]
            assert of[name] == sum(a * ((c == name) - (d == name)) for a, d, c in mine)
    aside = sum(h.item.credits - h.spent for h in ledger.holds.values() if h.state == "open")
    assert aside == sum(ledger.account(grant, "held") for grant in ledger.grants)
