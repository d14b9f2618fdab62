"""The ledger of one customer, kept in memory: what PostgreSQL's does, said once more and plainly.

It is the second opinion that tests hold the record to, operation by operation and entry by entry.
Laws, after every operation:

* every entry moves an amount above zero between two accounts of one grant, so the postings sum to
  zero: ``issued + available + held + spent + expired + revoked == 0`` for each grant;
* no account but ``issued`` is below zero, and entries are only added;
* ``held`` of all grants is what open holds have set aside and not captured;
* an operation id has one effect within its replay period.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from api.domain.catalog import Bucket, CreditCost
from api.domain.credits import Burned, Grant, GrantId, burn_down, burn_order
from api.domain.holds import Change, Hold, Item, Verdict

MOVES = {
    "grant": ("issued", "available"),
    "spend": ("available", "spent"),
    "hold": ("available", "held"),
    "capture": ("held", "spent"),
    "release": ("held", "available"),
    "return": ("spent", "available"),
    "expire": ("available", "expired"),
    "revoke": ("available", "revoked"),
    "restore": ("revoked", "available"),
}
"""What each kind of entry takes from and gives to."""


class Entry(NamedTuple):
    """An amount moved; ``operation`` is the consumption, hold or act that it belongs to."""

    kind: str
    grant: GrantId
    amount: int
    operation: str
    feature: str | None = None


class Operation(NamedTuple):
    """What is asked under one name: ``fingerprint`` tells its contents, and until when it holds."""

    id: str
    fingerprint: str
    at: datetime
    expires_at: datetime


class Paid(NamedTuple):
    """Credits that one bucket paid for one feature."""

    feature: str
    bucket: Bucket
    credits: int


class Decision(NamedTuple):
    """What came of a charge; ``attempt`` is the one that decided, where it was decided before.

    ``balance`` is what is available right after.
    """

    verdict: Verdict
    credits: int
    balance: int
    paid: tuple[Paid, ...] = ()
    attempt: str = ""


class Resolved(NamedTuple):
    """What came of a change, and the hold as it is then; None where there is no such."""

    verdict: Verdict
    hold: Hold | None


class _Done(NamedTuple):
    operation: Operation
    decision: Decision
    hold: Hold | None = None


class Ledger:
    """Grants, entries, holds and usage of one customer, and what may be done with them."""

    def __init__(self) -> None:
        self.grants: dict[GrantId, Grant] = {}
        self.entries: list[Entry] = []
        self.holds: dict[str, Hold] = {}
        self.usage: Counter[tuple[str, str]] = Counter()
        self._accounts: Counter[tuple[GrantId, str]] = Counter()
        self._sources: set[str] = set()
        self._done: dict[str, _Done] = {}

    def account(self, grant: GrantId, name: str) -> int:
        """Return what an account of a grant has: the sum of its postings."""
        return self._accounts[grant, name]

    def balance(self, at: datetime) -> int:
        """Return what may be spent at that instant, whatever on."""
        return sum(self.account(grant.id, "available") for grant in self._usable(at))

    def give(self, grant: Grant, source: str, units: int) -> bool:
        """Give ``units``, once for each source; tell whether they were given now."""
        if source in self._sources:
            return False
        self._sources.add(source)
        self.grants[grant.id] = grant
        self._move("grant", grant.id, units, source)
        return True

    def charge(
        self,
        operation: Operation,
        attempt: str,
        items: Sequence[Item],
        hold: tuple[datetime, CreditCost] | None = None,
    ) -> Decision:
        """Debit what all the items cost, or set it aside for a hold of one item; or do nothing.

        Each item burns down by itself, in their order: ``sum(paid) == credits == sum(item costs)``.
        """
        known = self._known(operation)
        if known is not None:
            if known.operation.fingerprint != operation.fingerprint:
                return Decision(Verdict.CONFLICT, 0, self.balance(operation.at))
            return known.decision._replace(verdict=Verdict.REPLAYED, paid=())
        burned = self._afford(items, operation.at)
        if burned is None:
            return Decision(Verdict.INSUFFICIENT, 0, self.balance(operation.at))
        kind = "spend" if hold is None else "hold"
        for item, burn in burned:
            self._move(kind, burn.grant, burn.credits, attempt, item.feature)
        for item in items:
            self._use(item.feature, item.units, item.charged)
        if hold is not None:
            (item,) = items
            parts = tuple(burn for _, burn in burned)
            self.holds[attempt] = Hold(attempt, item, hold[1], hold[0], parts)
        decision = Decision(
            Verdict.DONE,
            sum(burn.credits for _, burn in burned),
            self.balance(operation.at),
            tuple(
                Paid(item.feature, self.grants[burn.grant].bucket, burn.credits)
                for item, burn in burned
            ),
            attempt,
        )
        self._done[operation.id] = _Done(operation, decision)
        return decision

    def resolve(self, operation: Operation, change: Change) -> Resolved:
        """Change a hold. Only an open one changes, so that each ends once.

        An end leaves ``available`` and ``spent`` with all that it had set aside.
        """
        known = self._known(operation)
        if known is not None:
            if known.operation.fingerprint != operation.fingerprint:
                return Resolved(Verdict.CONFLICT, None)
            return Resolved(Verdict.REPLAYED, known.hold)
        hold = self.holds.get(change.hold)
        if hold is None:
            return Resolved(Verdict.UNKNOWN, None)
        verdict = hold.judged(change, operation.at)
        if verdict is not Verdict.DONE:
            return Resolved(verdict, hold)
        before, hold = hold, hold.after(change)
        for part in hold.between(before.spent, hold.spent):
            self._move("capture", part.grant, part.credits, hold.id, hold.item.feature)
        if hold.state != "open":
            for part in hold.between(hold.spent, hold.item.credits):
                self._move("release", part.grant, part.credits, hold.id, hold.item.feature)
            self._use(
                hold.item.feature, hold.captured - hold.item.units, hold.paying - hold.item.charged
            )
        self.holds[hold.id] = hold
        decision = Decision(Verdict.DONE, hold.spent, 0)
        self._done[operation.id] = _Done(operation, decision, hold)
        return Resolved(Verdict.DONE, hold)

    def expire_grants(self, at: datetime) -> None:
        """Take what is left of every grant past its time, also what came back to it since."""
        for grant in sorted(self.grants.values(), key=lambda grant: grant.id):
            if grant.expires_at is not None and grant.expires_at <= at:
                left = self.account(grant.id, "available")
                self._move("expire", grant.id, left, f"expire {grant.id}")

    def take(self, units: int, operation: str, at: datetime) -> bool:
        """Revoke so many credits in burn order, all or none; tell whether there were so many."""
        if units > self.balance(at):
            return False
        for grant in sorted(self._usable(at), key=burn_order):
            part = min(units, self.account(grant.id, "available"))
            self._move("revoke", grant.id, part, operation)
            units -= part
        return True

    def revoke(self, grant: GrantId, units: int | None, operation: str) -> int:
        """Take back ``units`` of a grant, None: all, as far as they are available."""
        left = self.account(grant, "available")
        taken = left if units is None else min(units, left)
        self._move("revoke", grant, taken, operation)
        return taken

    def restore(self, grant: GrantId, units: int, operation: str) -> int:
        """Give back what was revoked of a grant, at most ``units``."""
        given = min(units, self.account(grant, "revoked"))
        self._move("restore", grant, given, operation)
        return given

    def give_back(self, attempt: str, feature: str, *, kept: int, charged: int) -> int:
        """Return what an attempt paid for all but ``kept`` of its ``charged`` units.

        What stays paid is ``ceil(paid * kept / charged)``, as long as its cost was not corrected;
        whoever paid last gets theirs first.
        """
        net: dict[GrantId, int] = {}
        paid = 0
        for entry in self.entries:
            if entry.operation == attempt and entry.feature == feature:
                debit, credit = MOVES[entry.kind]
                net.setdefault(entry.grant, 0)
                net[entry.grant] += entry.amount * ((credit == "spent") - (debit == "spent"))
                paid += entry.amount * (credit == "spent")
        stays = -(-paid * kept // charged) if charged else 0
        left = back = max(0, sum(net.values()) - stays)
        for grant, spent in reversed(net.items()):
            part = min(left, spent)
            self._move("return", grant, part, attempt, feature)
            left -= part
        return back

    def _afford(self, items: Sequence[Item], at: datetime) -> list[tuple[Item, Burned]] | None:
        left = {grant: self.account(grant, "available") for grant in self.grants}
        burned: list[tuple[Item, Burned]] = []
        for item in items:
            paid = burn_down(
                self.grants.values(), left, credits=item.credits, feature=item.feature, at=at
            )
            if paid.uncovered:
                return None
            for burn in paid.burned:
                left[burn.grant] -= burn.credits
                burned.append((item, burn))
        return burned

    def _usable(self, at: datetime) -> Iterator[Grant]:
        return (g for g in self.grants.values() if replace(g, features=None).pays("", at))

    def _known(self, operation: Operation) -> _Done | None:
        done = self._done.get(operation.id)
        return done if done is not None and done.operation.expires_at > operation.at else None

    def _use(self, feature: str, units: int, charged: int) -> None:
        self.usage[feature, "units"] += units
        self.usage[feature, "charged"] += charged

    def _move(
        self, kind: str, grant: GrantId, amount: int, operation: str, feature: str | None = None
    ) -> None:
        if amount == 0:
            return
        debit, credit = MOVES[kind]
        self._accounts[grant, debit] -= amount
        self._accounts[grant, credit] += amount
        if amount < 0 or (debit != "issued" and self._accounts[grant, debit] < 0):
            raise ArithmeticError(f"{kind} of {amount} credits of grant {grant}")
        self.entries.append(Entry(kind, grant, amount, operation, feature))
