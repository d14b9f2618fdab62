"""Reading the keys of the product's issuer, over real HTTP on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from api.domain.errors import Unauthenticated, Unavailable
from api.gates.jwks import (
    AGAIN_MS,
    BELIEVED_MS,
    FRESH_MS,
    MOST_BYTES,
    KeySet,
    fetch_from,
    read_keys,
)

P256 = ec.generate_private_key(ec.SECP256R1())


def jwk(key: object, algorithm: str, **changed: Any) -> dict[str, Any]:
    said: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return {**said, "kid": "one", **changed}


def document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


SET = document(jwk(P256.public_key(), "ES256"))


class Published:
    """What an issuer shows, and how often it was asked."""

    def __init__(self, shown: bytes | None) -> None:
        self.shown = shown
        self.asked = 0

    async def __call__(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if self.shown is None:
            raise Unavailable("no answer")
        return self.shown


async def test_keys_are_read_once_and_kept() -> None:
    issuer = Published(SET)
    keys = KeySet(issuer)
    await asyncio.gather(*(keys.get("one", 0) for _ in range(20)))
    await keys.get("one", FRESH_MS)
    assert issuer.asked == 1
    await keys.get("one", FRESH_MS + 1)
    assert issuer.asked == 2


async def test_an_unknown_key_id_has_the_keys_read_again_at_most_once_in_a_while() -> None:
    issuer = Published(SET)
    keys = KeySet(issuer)
    await keys.get("one", 0)
    for at_ms in range(0, AGAIN_MS, 100):
        with pytest.raises(Unauthenticated):
            await keys.get("two", at_ms)
    assert issuer.asked == 1
    issuer.shown = document(jwk(P256.public_key(), "ES256", kid="two"))
    assert (await keys.get("two", AGAIN_MS)).algorithm == "ES256"
    assert issuer.asked == 2
    with pytest.raises(Unauthenticated):
        await keys.get("one", AGAIN_MS)


async def test_keys_outlive_a_silent_issuer_for_an_hour() -> None:
    issuer = Published(SET)
    keys = KeySet(issuer)
    await keys.get("one", 0)
    issuer.shown = None
    await keys.get("one", BELIEVED_MS)
    with pytest.raises(Unavailable):
        await keys.get("one", BELIEVED_MS + 1)


async def test_an_issuer_that_never_answered_leaves_tokens_unjudged() -> None:
    issuer = Published(None)
    keys = KeySet(issuer)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await keys.get("one", 0)
    assert issuer.asked == 1
    issuer.shown = SET
    await keys.get("one", AGAIN_MS)


async def test_a_document_that_is_no_key_set_replaces_nothing() -> None:
    issuer = Published(SET)
    keys = KeySet(issuer)
    await keys.get("one", 0)
    for shown in (b"<html>", b"[]", b'{"keys": 7}', b"", b'{"keys": [' + b"{}," * 100 + b"{}]}"):
        issuer.shown = shown
        assert (await keys.get("one", FRESH_MS + 1)).algorithm == "ES256"


async def test_a_token_without_a_key_id_is_judged_by_the_only_key() -> None:
    assert (await KeySet(Published(SET)).get(None, 0)).algorithm == "ES256"
    two = document(jwk(P256.public_key(), "ES256"), jwk(P256.public_key(), "ES256", kid="two"))
    with pytest.raises(Unauthenticated):
        await KeySet(Published(two)).get(None, 0)


UNFIT: dict[str, dict[str, Any]] = {
    "a symmetric key": {
        "kty": "oct",
        "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA",
        "kid": "one",
    },
    "a private key": jwk(P256, "ES256"),
    "a key for encryption": jwk(P256.public_key(), "ES256", use="enc"),
    "a key that only signs": jwk(P256.public_key(), "ES256", key_ops=["sign"]),
    "an RSA key that is too short": jwk(
        rsa.generate_private_key(65537, 1024).public_key(),  # noqa: S505 - that is the point
        "RS256",
    ),
    "a curve that is not pinned": jwk(
        ec.generate_private_key(ec.SECP384R1()).public_key(), "ES384"
    ),
    "a key for another algorithm": jwk(P256.public_key(), "ES256", alg="ES384"),
    "a symmetric algorithm on a public key": jwk(P256.public_key(), "ES256", alg="HS256"),
    "half a key": {"kty": "EC", "crv": "P-256", "x": "AA", "kid": "one"},
    "a point off its curve": jwk(P256.public_key(), "ES256", x="AAAA"),
    "a type that is a list": {"kty": ["EC"], "kid": "one"},
    "a curve that is a list": {"kty": "EC", "crv": ["P-256"], "kid": "one"},
    "an Edwards private key": jwk(ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
}


@pytest.mark.parametrize("entry", UNFIT.values(), ids=UNFIT.keys())
def test_a_key_that_may_not_verify_here_is_passed_over(entry: dict[str, Any]) -> None:
    fit = jwk(P256.public_key(), "ES256", kid="fit")
    assert list(read_keys(document(entry, fit))) == ["fit"]


@asynccontextmanager
async def serving(answer: Callable[[], bytes]) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"


def said(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_keys_are_fetched_over_http() -> None:
    async with serving(lambda: said(SET)) as url:
        assert (await KeySet(fetch_from(url)).get("one", 0)).algorithm == "ES256"


@pytest.mark.parametrize(
    "answer",
    [
        said(b"", "500 Internal Server Error"),
        said(SET, "302 Found", "Location: http://127.0.0.1:1/"),
        said(b"x" * (MOST_BYTES + 1)),
        b"not http at all\r\n\r\n",
        b"",
    ],
    ids=["an error", "a redirect", "too much", "not HTTP", "nothing"],
)
async def test_an_answer_that_is_not_the_keys_is_no_answer(answer: bytes) -> None:
    async with serving(lambda: answer) as url:
        with pytest.raises(Unavailable):
            await fetch_from(url)()


async def test_an_issuer_that_refuses_connections_is_no_answer() -> None:
    async with serving(lambda: b"") as url:
        pass
    with pytest.raises(Unavailable):
        await fetch_from(url)()
