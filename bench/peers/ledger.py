"""Credits as a team writes them by hand: lock the account, check, insert, update, commit.

Starlette, an asyncpg pool of 20 with its defaults, one transaction a request. Every operation has
an idempotency key that is unique in the database; one told again gets the first answer.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

KEYS = {os.environ.get("BENCH_KEY", ""): "bench"}
SCHEMA = """
create schema by_hand;
create table by_hand.accounts (
    customer text primary key,
    balance bigint not null check (balance >= 0),
    held bigint not null default 0 check (held between 0 and balance)
);
create table by_hand.ledger (
    id bigint generated always as identity primary key,
    customer text not null,
    units bigint not null,
    balance_after bigint not null,
    idempotency_key text not null,
    created_at timestamptz not null default now(),
    unique (customer, idempotency_key)
);
create table by_hand.holds (
    id bigint generated always as identity primary key,
    customer text not null,
    units bigint not null check (units > 0),
    state text not null default 'open',
    idempotency_key text not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    unique (customer, idempotency_key)
);
"""

pool: asyncpg.Pool[asyncpg.Record]


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    """Keep the pool for as long as the server runs."""
    global pool
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20) as pool:
        yield


def authorized(request: Request) -> bool:
    """Look the bearer's key up."""
    return request.headers.get("authorization", "").removeprefix("Bearer ") in KEYS


def problem(status: int, code: str) -> JSONResponse:
    """Say why not."""
    return JSONResponse({"code": code}, status_code=status)


async def debit(request: Request) -> JSONResponse:
    """Take credits."""
    if not authorized(request):
        return problem(401, "UNAUTHENTICATED")
    body = await request.json()
    customer, units, key = body["customer"], body["units"], body["idempotencyKey"]
    async with pool.acquire() as c, c.transaction():
        account = await c.fetchrow(
            "select balance, held from by_hand.accounts where customer = $1 for update", customer
        )
        if account is None:
            return problem(404, "UNKNOWN_CUSTOMER")
        if account["balance"] - account["held"] < units:
            return problem(402, "INSUFFICIENT_CREDITS")
        balance = account["balance"] - units
        inserted = await c.fetchval(
            "insert into by_hand.ledger (customer, units, balance_after, idempotency_key)"
            " values ($1, $2, $3, $4) on conflict do nothing returning id",
            customer,
            units,
            balance,
            key,
        )
        if inserted is None:
            first = await c.fetchrow(
                "select id, balance_after from by_hand.ledger"
                " where customer = $1 and idempotency_key = $2",
                customer,
                key,
            )
            assert first is not None
            return JSONResponse({"id": first["id"], "balance": first["balance_after"]})
        await c.execute(
            "update by_hand.accounts set balance = $2 where customer = $1", customer, balance
        )
    return JSONResponse({"id": inserted, "balance": balance})


async def hold(request: Request) -> JSONResponse:
    """Set credits aside."""
    if not authorized(request):
        return problem(401, "UNAUTHENTICATED")
    body = await request.json()
    customer, units, key = body["customer"], body["units"], body["idempotencyKey"]
    async with pool.acquire() as c, c.transaction():
        account = await c.fetchrow(
            "select balance, held from by_hand.accounts where customer = $1 for update", customer
        )
        if account is None:
            return problem(404, "UNKNOWN_CUSTOMER")
        if account["balance"] - account["held"] < units:
            return problem(402, "INSUFFICIENT_CREDITS")
        inserted = await c.fetchval(
            "insert into by_hand.holds (customer, units, idempotency_key, expires_at)"
            " values ($1, $2, $3, now() + interval '5 minutes') on conflict do nothing"
            " returning id",
            customer,
            units,
            key,
        )
        if inserted is None:
            first = await c.fetchval(
                "select id from by_hand.holds where customer = $1 and idempotency_key = $2",
                customer,
                key,
            )
            return JSONResponse({"hold": str(first)})
        await c.execute(
            "update by_hand.accounts set held = held + $2 where customer = $1", customer, units
        )
    return JSONResponse({"hold": str(inserted)})


async def capture(request: Request) -> JSONResponse:
    """Take what was set aside."""
    if not authorized(request):
        return problem(401, "UNAUTHENTICATED")
    body = await request.json()
    number, key = int(body["hold"]), body["idempotencyKey"]
    async with pool.acquire() as c, c.transaction():
        held = await c.fetchrow(
            "select customer, units, state from by_hand.holds where id = $1 for update", number
        )
        if held is None:
            return problem(404, "UNKNOWN_HOLD")
        customer, units = held["customer"], held["units"]
        if held["state"] != "open":
            first = await c.fetchval(
                "select balance_after from by_hand.ledger"
                " where customer = $1 and idempotency_key = $2",
                customer,
                key,
            )
            if first is None:
                return problem(409, "HOLD_RESOLVED")
            return JSONResponse({"captured": units, "balance": first})
        await c.execute("update by_hand.holds set state = 'captured' where id = $1", number)
        balance = await c.fetchval(
            "update by_hand.accounts set balance = balance - $2, held = held - $2"
            " where customer = $1 returning balance",
            customer,
            units,
        )
        await c.execute(
            "insert into by_hand.ledger (customer, units, balance_after, idempotency_key)"
            " values ($1, $2, $3, $4)",
            customer,
            units,
            balance,
            key,
        )
    return JSONResponse({"captured": units, "balance": balance})


app = Starlette(
    routes=[
        Route("/debit", debit, methods=["POST"]),
        Route("/hold", hold, methods=["POST"]),
        Route("/capture", capture, methods=["POST"]),
    ],
    lifespan=lifespan,
)


async def prepare(database_url: str, customers: int, credits_each: int) -> None:
    """Make the tables, and accounts with credits on them."""
    c = await asyncpg.connect(database_url)
    try:
        await c.execute(SCHEMA)
        await c.execute(
            "insert into by_hand.accounts (customer, balance)"
            " select 'c' || n, $2 from generate_series(0, $1::integer - 1) as n",
            customers,
            credits_each,
        )
    finally:
        await c.close()
