import asyncio
import hashlib
from datetime import timedelta

import pytest

from api.domain.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
    UnknownCustomer,
)
from api.gates.access import LOCAL, Access, Principal, presented
from api.gates.api_keys import BELIEVED_MS, FRESH_MS, ApiKeys
from api.gates.principal import parse_scopes, reach
from api.gates.tokens import Tokens
from api.infra.postgres import Database
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.waiting import until

SECRET = "s" * 32
WHY = {"actor": "local:test", "reason": "a test"}


def ms(clock: FakeClock) -> int:
    return int(clock.now().timestamp() * 1000)


def digest_of(plain: str) -> bytes:
    return hashlib.sha256(plain.encode()).digest()


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


async def made(keys: ApiKeys, clock: FakeClock, *scopes: str, name: str = "backend") -> str:
    plain, _ = await keys.create(name, scopes or ("consume",), clock.now(), **WHY)
    return plain


async def test_a_new_key_is_believed_with_its_scopes(keys: ApiKeys, clock: FakeClock) -> None:
    plain = await made(keys, clock, "consume")
    principal = await keys.authenticate(plain.encode(), ms(clock))
    assert principal == Principal("key", "backend", frozenset({"check", "consume"}))


async def test_the_record_holds_a_digest_and_never_the_key(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock)
    row = await database.fetchrow("select * from api_keys")
    assert row is not None
    assert row["digest"] == digest_of(plain)
    assert plain[3:] not in repr(dict(row))
    assert len(plain) == 46
    audited = await database.fetchrow("select * from audit_log")
    assert audited is not None
    assert audited["action"] == "keys.create"
    assert plain not in repr(dict(audited))


async def test_two_keys_never_share_their_secret(keys: ApiKeys, clock: FakeClock) -> None:
    assert len({await made(keys, clock) for _ in range(5)}) == 5


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"hr_",
        b"hr_" + b"a" * 42,
        b"hr_" + b"a" * 44,
        b"hr_" + b"!" * 43,
        b"hr_" + b"a" * 43,
        b"hr_" + b"a" * 43 + b"\n",
        b"\xff" * 46,
    ],
)
async def test_what_is_no_key_of_ours_is_refused(
    keys: ApiKeys, clock: FakeClock, plain: bytes
) -> None:
    await made(keys, clock)
    with pytest.raises(Unauthenticated):
        await keys.authenticate(plain, ms(clock))


async def test_a_key_is_recalled_from_memory_without_the_record(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock)
    await keys.authenticate(plain.encode(), ms(clock))
    await database.close()
    assert keys.recall(digest_of(plain), ms(clock)) is not None
    assert (await keys.authenticate(plain.encode(), ms(clock))).name == "backend"


async def test_a_key_revoked_by_another_process_is_refused_after_five_seconds_at_the_latest(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock)
    await keys.authenticate(plain.encode(), ms(clock))
    await ApiKeys(database).revoke("backend", clock.now(), **WHY)
    clock.advance(seconds=FRESH_MS / 1000 + 0.001)
    with pytest.raises(Unauthenticated):
        await keys.authenticate(plain.encode(), ms(clock))


async def test_a_key_revoked_by_another_process_is_refused_at_once_by_a_follower(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock)
    async with keys.follow(clock):
        await keys.authenticate(plain.encode(), ms(clock))
        await ApiKeys(database).revoke("backend", clock.now(), **WHY)
        await until(lambda: keys.recall(digest_of(plain), ms(clock)) is None)
        with pytest.raises(Unauthenticated):
            await keys.authenticate(plain.encode(), ms(clock))


async def test_a_follower_finds_a_revocation_that_nobody_notified(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock)
    async with keys.follow(clock):
        await keys.authenticate(plain.encode(), ms(clock))
        await database.execute("update api_keys set revoked_at = $1", clock.now())
        await until(lambda: keys.recall(digest_of(plain), ms(clock)) is None)


async def test_a_follower_keeps_keys_fresh_so_that_no_call_waits(
    keys: ApiKeys, clock: FakeClock
) -> None:
    plain = await made(keys, clock)
    await keys.authenticate(plain.encode(), ms(clock))
    clock.advance(minutes=1)
    assert keys.recall(digest_of(plain), ms(clock)) is None
    await keys.confirm_all(ms(clock))
    assert keys.recall(digest_of(plain), ms(clock)) is not None


async def test_revoking_says_what_it_revoked_and_only_once(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock, name="old")
    revoked = await keys.revoke(plain[:9], clock.now(), **WHY)
    assert (revoked.name, revoked.revoked_at) == ("old", clock.now())
    with pytest.raises(NotFound):
        await keys.revoke("old", clock.now(), **WHY)
    actions = await database.fetch("select action from audit_log order by id")
    assert [row["action"] for row in actions] == ["keys.create", "keys.revoke"]


async def test_a_name_that_means_several_keys_revokes_none(keys: ApiKeys, clock: FakeClock) -> None:
    await made(keys, clock)
    await made(keys, clock)
    with pytest.raises(InvalidInput, match="Several keys"):
        await keys.revoke("backend", clock.now(), **WHY)
    newest, oldest = await keys.list_()
    await keys.revoke(str(oldest.id), clock.now(), **WHY)
    assert [key.revoked_at for key in await keys.list_()] == [None, clock.now()]
    assert newest.id > oldest.id


@pytest.mark.parametrize("scopes", [(), ("consum",), ("consume", ""), ("ADMIN",)])
async def test_a_key_without_a_known_scope_is_not_made(
    keys: ApiKeys, clock: FakeClock, scopes: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInput, match="Scopes are check, consume, manage, support, admin"):
        await keys.create("backend", scopes, clock.now(), **WHY)
    assert await keys.list_() == []


@pytest.mark.parametrize("name", ["", " a", "1", "a\n", "a" * 101, "é"])
async def test_a_key_is_not_called_just_anything(
    keys: ApiKeys, clock: FakeClock, name: str
) -> None:
    with pytest.raises(InvalidInput, match="name"):
        await keys.create(name, ["check"], clock.now(), **WHY)
    assert await keys.list_() == []


async def test_use_is_noted_rarely_and_never_backward(
    keys: ApiKeys, clock: FakeClock, database: Database
) -> None:
    plain = await made(keys, clock)
    await keys.authenticate(plain.encode(), ms(clock))
    first = clock.now()
    await keys.confirm_all(ms(clock))
    clock.advance(seconds=30)
    await keys.authenticate(plain.encode(), ms(clock))
    await keys.confirm_all(ms(clock))
    assert await database.fetchval("select last_used_at from api_keys") == first
    clock.advance(seconds=31)
    await keys.confirm_all(ms(clock))
    noted = await database.fetchval("select last_used_at from api_keys")
    assert noted == first + timedelta(seconds=30)


async def test_made_up_keys_push_none_out_of_memory(
    keys: ApiKeys, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gates.api_keys.MOST_IN_MEMORY", 3)
    plain = await made(keys, clock)
    await keys.authenticate(plain.encode(), ms(clock))
    for number in range(10):
        with pytest.raises(Unauthenticated):
            await keys.authenticate(b"hr_" + b"%043d" % number, ms(clock))
    assert keys.recall(digest_of(plain), ms(clock)) is not None


async def test_memory_of_keys_is_bounded_and_forgets_the_oldest(
    keys: ApiKeys, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gates.api_keys.MOST_IN_MEMORY", 2)
    plains = [await made(keys, clock) for _ in range(3)]
    for plain in plains:
        await keys.authenticate(plain.encode(), ms(clock))
    recalled = [keys.recall(digest_of(plain), ms(clock)) is not None for plain in plains]
    assert recalled == [False, True, True]


async def test_keys_outlive_a_lost_record_for_an_hour_and_no_longer(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    engines = await engines_factory()
    async with await Database.open(engines.database_url, timeout_seconds=1) as database:
        keys = ApiKeys(database)
        known = await made(keys, clock, name="known")
        unknown = await made(keys, clock, name="unknown")
        await keys.authenticate(known.encode(), ms(clock))
        await engines.kill_postgres()
        clock.advance(seconds=BELIEVED_MS / 1000)
        assert (await keys.authenticate(known.encode(), ms(clock))).name == "known"
        with pytest.raises(Unavailable):
            await keys.authenticate(unknown.encode(), ms(clock))
        clock.advance(seconds=0.001)
        with pytest.raises(Unavailable):
            await keys.authenticate(known.encode(), ms(clock))


async def test_many_callers_of_one_moment_ask_the_record_once(
    keys: ApiKeys, clock: FakeClock
) -> None:
    plain = await made(keys, clock)
    found = await asyncio.gather(*(keys.authenticate(plain.encode(), ms(clock)) for _ in range(50)))
    assert len({id(principal) for principal in found}) == 1


def test_scopes_bring_along_what_the_documentation_says() -> None:
    words = ("check", "consume", "manage", "support", "admin")
    assert {word: reach(parse_scopes([word])) for word in words} == {
        "check": {"check"},
        "consume": {"check", "consume"},
        "manage": {"check", "manage"},
        "support": {"check", "manage", "support"},
        "admin": {"check", "consume", "manage", "support", "admin"},
    }


def test_a_principal_without_the_scope_is_forbidden() -> None:
    checker = Principal("key", "reader", reach(parse_scopes(["check"])))
    checker.expect("check")
    with pytest.raises(Forbidden, match="'consume'"):
        checker.expect("consume")
    LOCAL.expect("admin")


def test_a_token_reads_another_customer_as_unknown_and_a_key_must_name_one() -> None:
    token = Principal("token", "acme", frozenset({"check"}), "acme")
    assert token.customer_for(None) == "acme"
    assert token.customer_for("acme") == "acme"
    with pytest.raises(UnknownCustomer, match="no customer 'other'"):
        token.customer_for("other")
    key = Principal("key", "backend", frozenset({"check"}))
    assert key.customer_for("other") == "other"
    with pytest.raises(InvalidInput, match="customer is missing"):
        key.customer_for(None)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic aGk6aG8=", "Bearer a b", "hr_x", "Bearer é☃", "\x00"],
)
async def test_a_header_that_is_no_bearer_credential_is_refused(
    keys: ApiKeys, clock: FakeClock, header: str | None
) -> None:
    access = Access(keys, Tokens(SECRET))
    with pytest.raises(Unauthenticated):
        await access.authenticate(header, ms(clock))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(keys: ApiKeys, clock: FakeClock, scheme: str) -> None:
    access = Access(keys, Tokens(SECRET))
    header = f"{scheme} {await made(keys, clock)}".encode()
    credential = presented(header)
    assert credential is not None
    assert access.recall(credential, ms(clock)) is None
    principal = await access.authenticate(header, ms(clock))
    assert access.recall(credential, ms(clock)) is principal
