"""Whether a key is of the account that the record was made from, so that no two are mixed.

The first account that is compared with is kept. Only a person accepts another one.
"""

from __future__ import annotations

from datetime import datetime

from api.billing.account import Account, AccountIdentity
from api.billing.problems import OtherAccount
from api.catalog import audit
from api.domain.errors import InvalidInput
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id

_sql = Queries.load("reconciliation")


class SameAccount:
    """The account that the record belongs to."""

    def __init__(self, database: Database, account: Account) -> None:
        self._database = database
        self._account = account

    async def require(self, at: datetime) -> None:
        """Raise unless the key is of the record's account, which the first key decides.

        Raises: OtherAccount, Unavailable. Cost: a call of the provider, two statements.
        """
        provider = self._account.name
        found = await self._account.identity()
        kept = await self._database.fetchrow(_sql.account, provider)
        if kept is None:
            heard = await self._database.fetchval(_sql.heard_live, provider)
            ours = AccountIdentity(None, found.live if heard is None else heard)
        else:
            ours = AccountIdentity(kept["account_id"], kept["live"])
        same_id = found.id is None or ours.id is None or found.id == ours.id
        if found.live is not ours.live or not same_id:
            raise OtherAccount(
                f"The key is of {_said(found)}, and the record was made from {_said(ours)}: "
                "nothing was compared. Set STRIPE_SECRET_KEY of that account; or, if the record is "
                "to follow this one from now on, run `headroom reconciliation accept-account`."
            )
        if ours.id is None:
            await self._database.execute(_sql.keep_account, provider, found.id, found.live, at)

    async def accept(self, *, actor: str, reason: str, at: datetime) -> AccountIdentity:
        """Let the record follow the account of the present key.

        Raises: InvalidInput without a key, Unavailable.
        """
        if not self._account.reads:
            raise InvalidInput("There is no key to follow: set STRIPE_SECRET_KEY.")
        found = await self._account.identity()
        async with self._database.transaction() as conn:
            before = await conn.fetchrow(_sql.account, self._account.name)
            await conn.execute(_sql.accept_account, self._account.name, found.id, found.live, at)
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="reconciliation.accept_account",
                reason=reason,
                detail={
                    "account": found.id,
                    "live": found.live,
                    "before": None if before is None else before["account_id"],
                },
                correlation_id=correlation_id(),
            )
        return found


def _said(account: AccountIdentity) -> str:
    mode = "live" if account.live else "test"
    return f"{mode} mode" if account.id is None else f"account {account.id} in {mode} mode"
