"""Tokens that are believed, and the many ways in which one is not."""

import base64
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from api.domain.errors import InvalidInput, Unauthenticated
from api.gates.access import Principal
from api.gates.jwks import KeySet
from api.gates.tokens import BELIEVED_MS, LEEWAY_SECONDS, LONGEST_TOKEN, Issuer, Tokens
from api.gates.tokens import signing_secret as secret_in
from api.infra.postgres import Database
from tests.support.clock import FakeClock

SECRET = "own-secret-own-secret-own-secret"
THEIRS = "https://login.example.com/"
US = "headroom-prod"

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
OTHER = ec.generate_private_key(ec.SECP256R1())
ALGORITHMS = {"rsa": "RS256", "p256": "ES256", "edwards": "EdDSA"}
PrivateKey: TypeAlias = "rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey"
PRIVATE: dict[str, PrivateKey] = {"rsa": RSA, "p256": P256, "edwards": EDWARDS}


def jwk(kid: str) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name(ALGORITHMS[kid])
    said: dict[str, Any] = algorithm.to_jwk(PRIVATE[kid].public_key(), as_dict=True)
    return {**said, "kid": kid, "use": "sig"}


SET = json.dumps({"keys": [jwk(kid) for kid in PRIVATE]}).encode()


async def published() -> bytes:
    return SET


def ms(clock: FakeClock) -> int:
    return int(clock.now().timestamp() * 1000)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, Issuer(THEIRS, US, KeySet(published)))


def claims_of_theirs(clock: FakeClock, **changed: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    claims = {"iss": THEIRS, "aud": US, "sub": "acme", "exp": now + 300, "iat": now} | changed
    return {name: value for name, value in claims.items() if value is not None}


def signed(
    clock: FakeClock, kid: str = "p256", *, headers: Mapping[str, Any] | None = None, **changed: Any
) -> bytes:
    # Signed one layer down, where the library lets every nonsense pass.
    return (
        jwt.PyJWS()
        .encode(
            json.dumps(claims_of_theirs(clock, **changed)).encode(),
            PRIVATE[kid],
            ALGORITHMS[kid],
            {"kid": kid, **(headers or {})},
        )
        .encode()
    )


def raw(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> bytes:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def test_a_minted_token_lives_at_most_a_day(tokens: Tokens, clock: FakeClock) -> None:
    for ttl_seconds in (0, -1, 86_401):
        with pytest.raises(InvalidInput, match="lives 1 to 86400 seconds"):
            tokens.mint("acme", ["check"], ttl_seconds, clock.now())


@pytest.mark.parametrize("scopes", [["admin"], ["support"], ["check", "admin"], [], ["x"]])
def test_a_token_is_never_minted_to_reach_beyond_its_customer(
    tokens: Tokens, clock: FakeClock, scopes: list[str]
) -> None:
    with pytest.raises(InvalidInput):
        tokens.mint("acme", scopes, 60, clock.now())


async def test_a_minted_token_sees_its_customer_and_changes_nothing(
    tokens: Tokens, clock: FakeClock
) -> None:
    token = tokens.mint("acme", ["check"], 60, clock.now())
    principal = await tokens.authenticate(token.encode(), ms(clock))
    assert principal == Principal("token", "acme", frozenset({"check"}), "acme")


async def test_a_token_minted_to_consume_may(tokens: Tokens, clock: FakeClock) -> None:
    token = tokens.mint("acme", ["consume"], 60, clock.now())
    principal = await tokens.authenticate(token.encode(), ms(clock))
    assert principal.scopes == {"check", "consume"}


async def test_a_token_ends_when_it_said_with_a_little_leeway(
    tokens: Tokens, clock: FakeClock
) -> None:
    token = tokens.mint("acme", ["check"], 60, clock.now()).encode()
    clock.advance(seconds=60 + LEEWAY_SECONDS - 0.001)
    await tokens.authenticate(token, ms(clock))
    clock.advance(seconds=0.001)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.authenticate(token, ms(clock))


async def test_a_token_recalled_from_memory_ends_all_the_same(
    tokens: Tokens, clock: FakeClock
) -> None:
    token = tokens.mint("acme", ["check"], 30, clock.now()).encode()
    first = await tokens.authenticate(token, ms(clock))
    assert await tokens.authenticate(token, ms(clock)) is first
    clock.advance(seconds=30 + LEEWAY_SECONDS)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.authenticate(token, ms(clock))


async def test_memory_of_tokens_is_bounded(
    tokens: Tokens, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gates.tokens.MOST_IN_MEMORY", 2)
    for number in range(5):
        minted = tokens.mint(f"customer-{number}", ["check"], 60, clock.now())
        await tokens.authenticate(minted.encode(), ms(clock))
    assert len(tokens._verified) == 2  # noqa: SLF001 - the bound is what this is about


@pytest.mark.parametrize("kid", ["rsa", "p256", "edwards"])
async def test_a_token_of_the_products_issuer_is_believed(
    tokens: Tokens, clock: FakeClock, kid: str
) -> None:
    principal = await tokens.authenticate(signed(clock, kid), ms(clock))
    assert principal == Principal("token", "acme", frozenset({"check"}), "acme")


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("headroom:consume", {"check", "consume"}),
        ("openid headroom:consume profile", {"check", "consume"}),
        (["headroom:consume"], {"check", "consume"}),
        ("consume admin support", {"check"}),
        ("headroom:admin headroom:support", {"check"}),
        ("xheadroom:consume", {"check"}),
        (7, {"check"}),
    ],
)
async def test_a_foreign_scope_counts_only_where_it_is_meant_for_us(
    tokens: Tokens, clock: FakeClock, scope: object, may: set[str]
) -> None:
    principal = await tokens.authenticate(signed(clock, scope=scope), ms(clock))
    assert principal.scopes == may


async def test_the_claim_that_names_the_customer_can_be_chosen(clock: FakeClock) -> None:
    tokens = Tokens(SECRET, Issuer(THEIRS, US, KeySet(published), customer_claim="org"))
    believed = await tokens.authenticate(signed(clock, org="globex"), ms(clock))
    assert believed.customer == "globex"
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(signed(clock), ms(clock))
    minted = tokens.mint("acme", ["check"], 60, clock.now())
    assert (await tokens.authenticate(minted.encode(), ms(clock))).customer == "acme"


REFUSED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example.com/"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "somebody-else"},
    "no audience": {"aud": None},
    "our own issuer's name": {"iss": "headroom", "aud": "headroom"},
    "no end": {"exp": None},
    "an end in words": {"exp": "tomorrow"},
    "an end that is true": {"exp": True},
    "an end never reached": {"exp": 1e300},
    "not yet valid": {"nbf": 4_000_000_000},
    "issued in the future": {"iat": 4_000_000_000},
    "an issuer in a list": {"iss": [THEIRS]},
    "an audience of odd things": {"aud": [[US], 7]},
    "no customer": {"sub": None},
    "a customer by number": {"sub": 7},
    "an empty customer": {"sub": ""},
    "a customer too long": {"sub": "a" * 201},
    "a customer with control characters": {"sub": "a\x00b"},
}


@pytest.mark.parametrize("changed", REFUSED.values(), ids=REFUSED.keys())
async def test_a_foreign_token_with_one_wrong_claim_is_refused(
    tokens: Tokens, clock: FakeClock, changed: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(signed(clock, **changed), ms(clock))


async def test_a_token_signed_with_a_public_key_as_secret_is_refused(
    tokens: Tokens, clock: FakeClock
) -> None:
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    algorithm = jwt.get_algorithm_by_name("HS256")
    for issuer, audience in ((THEIRS, US), ("headroom", "headroom")):
        claims = claims_of_theirs(clock, iss=issuer, aud=audience)
        unsigned = raw({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, claims).rpartition(b".")[0]
        signature = base64.urlsafe_b64encode(algorithm.sign(unsigned, pem)).rstrip(b"=")
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(unsigned + b"." + signature, ms(clock))


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "", None, "HS384", "HS512", "RS512", "PS256", "ES384", 7, ["ES256"]],
)
async def test_an_algorithm_that_is_not_pinned_is_refused(
    tokens: Tokens, clock: FakeClock, algorithm: object
) -> None:
    header = {"alg": algorithm, "typ": "JWT", "kid": "p256"}
    for claims in (
        claims_of_theirs(clock),
        claims_of_theirs(clock, iss="headroom", aud="headroom"),
    ):
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(raw(header, claims), ms(clock))


async def test_a_key_verifies_no_other_algorithm_than_its_own(
    tokens: Tokens, clock: FakeClock
) -> None:
    token = jwt.encode(claims_of_theirs(clock), RSA, "RS256", {"kid": "p256"})
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(token.encode(), ms(clock))


async def test_a_token_of_a_key_that_is_not_published_is_refused(
    tokens: Tokens, clock: FakeClock
) -> None:
    for kid in ("p256", "other"):
        token = jwt.encode(claims_of_theirs(clock), OTHER, "ES256", {"kid": kid})
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(token.encode(), ms(clock))


async def test_an_altered_token_is_refused(tokens: Tokens, clock: FakeClock) -> None:
    token = tokens.mint("acme", ["check"], 60, clock.now()).encode()
    head, body, signature = token.split(b".")
    other = tokens.mint("globex", ["check"], 60, clock.now()).encode().split(b".")[1]
    for altered in (
        b".".join([head, other, signature]),
        b".".join([head, body, b""]),
        b".".join([head, body]),
        token + b"." + signature,
        body,
    ):
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(altered, ms(clock))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "x"])
async def test_a_token_for_something_else_than_access_is_refused(
    tokens: Tokens, clock: FakeClock, kind: str
) -> None:
    with pytest.raises(Unauthenticated, match="not for access"):
        await tokens.authenticate(signed(clock, headers={"typ": kind}), ms(clock))


async def test_foreign_tokens_are_refused_where_no_issuer_is_trusted(clock: FakeClock) -> None:
    with pytest.raises(Unauthenticated):
        await Tokens(SECRET).authenticate(signed(clock), ms(clock))


async def test_a_token_of_another_installation_is_refused(tokens: Tokens, clock: FakeClock) -> None:
    foreign = Tokens("x" * 32).mint("acme", ["check"], 60, clock.now())
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(foreign.encode(), ms(clock))


async def test_a_token_that_is_nested_too_deep_or_too_long_is_refused(
    tokens: Tokens, clock: FakeClock
) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 4000).rstrip(b"=")
    for token in (b".".join([deep, deep, b""]), b"a" * (LONGEST_TOKEN + 1)):
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(token, ms(clock))


@given(st.binary(max_size=200))
async def test_no_bytes_make_anything_but_a_refusal(garbage: bytes) -> None:
    tokens = Tokens(SECRET, Issuer(THEIRS, US, KeySet(published)))
    for token in (garbage, b".".join([base64.urlsafe_b64encode(garbage).rstrip(b"=")] * 3)):
        with pytest.raises(Unauthenticated):
            await tokens.authenticate(token, 0)


async def test_a_withdrawn_key_is_believed_from_memory_for_a_minute_at_most(
    clock: FakeClock,
) -> None:
    shown = SET

    async def show() -> bytes:
        return shown

    tokens = Tokens(SECRET, Issuer(THEIRS, US, KeySet(show)))
    token = signed(clock, exp=int(clock.now().timestamp()) + 7200)
    await tokens.authenticate(token, ms(clock))
    shown = b'{"keys": []}'
    clock.advance(seconds=BELIEVED_MS / 1000 - 1)
    await tokens.authenticate(token, ms(clock))
    clock.advance(minutes=10)
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(token, ms(clock))


async def test_an_installation_makes_its_secret_once(database: Database, clock: FakeClock) -> None:
    first = await secret_in(database, clock.now())
    assert await secret_in(database, clock.now()) == first
    assert len(first) == 64
