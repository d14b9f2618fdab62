"""What the HTTP doors refuse: one line each, the precise error, the right status, no change."""

import base64
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from api.domain.catalog import MAX_UNITS
from tests.support.site import Site

GOOD = {"customer": "acme", "feature": "calls"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One bad request, and what is said about it."""

    says: str
    status: int = 400
    code: str = "INVALID_INPUT"
    path: str = "/v1/consume"
    method: str = "POST"
    json: Any = None
    body: bytes | None = None
    headers: dict[str, str] | list[tuple[str, str]] = field(default_factory=dict)
    as_: str | None = "consume"


def body(raw: bytes, says: str, **more: Any) -> Bad:
    return Bad(says=says, body=raw, headers=JSON, **more)


def said(changed: dict[str, Any], says: str, **more: Any) -> Bad:
    return Bad(says=says, json={**GOOD, **changed}, **more)


UNITS = f"units must be a whole number from 1 to {MAX_UNITS}, or its digits in a string."
CUSTOMER = "customer must be a string of 1 to 200 characters."
FEATURE = "feature must be a string of 1 to 200 characters, and be given."
OBJECT = "The body must be a JSON object with feature, customer, units, idempotencyKey."
NAMED = "idempotencyKey must be a string of 1 to 200 printable characters, the first of them not ~."

BODIES: dict[str, Bad] = {
    "no body": body(b"", "The body is not JSON: Input data was truncated."),
    "half a body": body(b'{"feature": "ca', "The body is not JSON: Input data was truncated."),
    "not JSON": body(b"feature=calls", "The body is not JSON: invalid character (byte 5)."),
    "a trailing comma": body(
        b'{"feature":"calls",}', "The body is not JSON: trailing comma in object (byte 19)."
    ),
    "two values": body(b"{} {}", FEATURE),
    "text after the object": body(
        b'{"customer":"acme","feature":"calls"} x',
        "The body is not JSON: trailing characters (byte 39).",
    ),
    "a comment": body(
        b'/* */ {"feature":"calls"}', "The body is not JSON: invalid character (byte 0)."
    ),
    "single quotes": body(
        b"{'feature':'calls'}", "The body is not JSON: object keys must be strings (byte 1)."
    ),
    "NaN": body(
        b'{"feature":"calls","units":NaN}', "The body is not JSON: invalid character (byte 27)."
    ),
    "not UTF-8": body(b'{"customer":"a\xff","feature":"calls"}', "The body is not UTF-8."),
    "half a surrogate": body(
        b'{"customer":"\\ud800","feature":"calls"}',
        "The body is not JSON: unexpected end of escaped utf-16 surrogate pair (byte 19).",
    ),
    "a byte order mark": body(
        b'\xef\xbb\xbf{"feature":"calls"}', "The body is not JSON: invalid character (byte 0)."
    ),
    "null": body(b"null", OBJECT),
    "a list": body(b'[{"feature":"calls"}]', OBJECT),
    "a string": body(b'"calls"', OBJECT),
    "a number": body(b"1", OBJECT),
    "a list nested deep": body(b"[" * 10_000, OBJECT),
    "a field nested deep": body(b'{"feature":' + b"[" * 10_000, FEATURE),
}

FIELDS: dict[str, Bad] = {
    "no feature": Bad(says=FEATURE, json={"customer": "acme"}),
    "feature null": said({"feature": None}, FEATURE),
    "feature a number": said({"feature": 7}, FEATURE),
    "feature empty": said({"feature": ""}, FEATURE),
    "feature too long": said({"feature": "c" * 201}, FEATURE),
    "feature a list": said({"feature": ["calls"]}, FEATURE),
    "no customer with a key": Bad(
        says="customer is missing; only a customer token may omit it.", json={"feature": "calls"}
    ),
    "customer empty": said({"customer": ""}, CUSTOMER),
    "customer too long": said({"customer": "a" * 201}, CUSTOMER),
    "customer a number": said({"customer": 1}, CUSTOMER),
    "customer an object": said({"customer": {"key": "acme"}}, CUSTOMER),
    "units zero": said({"units": 0}, UNITS),
    "units below zero": said({"units": -1}, UNITS),
    "units too many": said({"units": MAX_UNITS + 1}, UNITS),
    "units far too many": said({"units": 10**30}, UNITS),
    "units with a fraction": said({"units": 1.5}, UNITS),
    "units beyond any number": body(b'{"customer":"acme","feature":"calls","units":1e400}', UNITS),
    "units true": said({"units": True}, UNITS),
    "units null": said({"units": None}, UNITS),
    "units a word": said({"units": "many"}, UNITS),
    "units an empty string": said({"units": ""}, UNITS),
    "units zero in a string": said({"units": "0"}, UNITS),
    "units with a sign": said({"units": "+1"}, UNITS),
    "units with blanks": said({"units": " 1"}, UNITS),
    "units with a line's end": said({"units": "1\n"}, UNITS),
    "units in other digits": said({"units": "\u0661"}, UNITS),
    "units in hex": said({"units": "0x1"}, UNITS),
    "units of too many digits": said({"units": "9007199254740992"}, UNITS),
    "units a list": said({"units": [1]}, UNITS),
    "an unknown field": said(
        {"amount": 1},
        "There is no field 'amount'; there are feature, customer, units, idempotencyKey.",
    ),
    "a field in another style": said(
        {"idempotency_key": "x"},
        "There is no field 'idempotency_key'; there are feature, customer, units, idempotencyKey.",
    ),
    "a consumption id where nothing is released": said(
        {"consumptionId": "x"},
        "There is no field 'consumptionId'; there are feature, customer, units, idempotencyKey.",
    ),
    "an operation's name for a check": said(
        {"idempotencyKey": "x"},
        "There is no field 'idempotencyKey'; there are feature, customer, units.",
        path="/v1/check",
    ),
    "idempotencyKey empty": said({"idempotencyKey": ""}, NAMED),
    "idempotencyKey a number": said({"idempotencyKey": 7}, NAMED),
    "idempotencyKey too long": said({"idempotencyKey": "k" * 201}, NAMED),
    "idempotencyKey that we use ourselves": said(
        {"idempotencyKey": "~k"},
        "idempotencyKey must be 1 to 200 printable characters and not begin with ~",
    ),
    "idempotencyKey with a line's end": said(
        {"idempotencyKey": "k\n"},
        "idempotencyKey must be 1 to 200 printable characters and not begin with ~",
    ),
    "two names of one operation": said(
        {"idempotencyKey": "a"},
        "The header Idempotency-Key and idempotencyKey in the body differ.",
        headers={"Idempotency-Key": "b"},
    ),
    "a name in the header that is none": said(
        {}, "The header Idempotency-Key is empty.", headers={"Idempotency-Key": '""'}
    ),
    "a consumption id that is none": said(
        {"consumptionId": "garbage"},
        "consumptionId is not the id of a consumption",
        path="/v1/release",
    ),
    **{
        f"a consumption id made up of {raw!r}": said(
            {"consumptionId": base64.urlsafe_b64encode(raw).decode().rstrip("=")},
            "consumptionId is not the id of a consumption",
            path="/v1/release",
        )
        for raw in (
            b"1.0",
            b"x.0.k",
            b"f" * 30 + b".0.k",
            b"-1.0.k",
            b"1.ffff.k",
            b"1.0.k\x00",
            b"\xff.0.k",
        )
    },
    "a release whose name we use ourselves": said(
        {
            "consumptionId": base64.urlsafe_b64encode(b"1.0.k").decode().rstrip("="),
            "idempotencyKey": "~k",
        },
        "idempotencyKey must be 1 to 200 printable characters and not begin with ~",
        path="/v1/release",
    ),
    "a release of what was never consumed": said(
        {"consumptionId": base64.urlsafe_b64encode(b"1.0.k").decode().rstrip("=")},
        "consumptionId names no consumption of this customer",
        path="/v1/release",
    ),
    "a consumption id of a wrong type": said(
        {"consumptionId": 7},
        "consumptionId must be the id of a consumption, a string.",
        path="/v1/release",
    ),
    "a release below zero": said(
        {"feature": "sites"}, "more units would be released than are in use", path="/v1/release"
    ),
    "a feature that is not counted": said(
        {"feature": "export"}, "export is a boolean feature: check it, nothing is used"
    ),
    "an unknown feature": said(
        {"feature": "nonsense"},
        "the catalog has no feature 'nonsense'",
        status=404,
        code="UNKNOWN_FEATURE",
    ),
    "an unknown customer": said(
        {"customer": "nobody"},
        "There is no customer 'nobody'.",
        status=404,
        code="UNKNOWN_CUSTOMER",
    ),
    "a customer that no one can be called": said(
        {"customer": "a\x00b"},
        "There is no customer 'a\\x00b'.",
        status=404,
        code="UNKNOWN_CUSTOMER",
    ),
}

MISSING_TOKEN = "Send 'Authorization: Bearer …' with an API key or a token."
NOT_BEARER = "The Authorization header is not 'Bearer' and one credential."
UNKNOWN_KEY = "This API key is not known, or was revoked."
MEDIA = "Send the body with Content-Type: application/json."

REQUESTS: dict[str, Bad] = {
    "GET": Bad(
        says="GET is not answered here; use POST.",
        method="GET",
        status=405,
        code="METHOD_NOT_ALLOWED",
    ),
    "OPTIONS without a credential": Bad(
        says="OPTIONS is not answered here; use POST.",
        method="OPTIONS",
        status=405,
        code="METHOD_NOT_ALLOWED",
        as_=None,
    ),
    "no credential": said({}, MISSING_TOKEN, as_=None, status=401, code="UNAUTHENTICATED"),
    "another scheme": said(
        {},
        NOT_BEARER,
        as_=None,
        headers={"Authorization": "Basic YTpi"},
        status=401,
        code="UNAUTHENTICATED",
    ),
    "a key that nobody has": said(
        {}, UNKNOWN_KEY, as_="hr_" + "a" * 43, status=401, code="UNAUTHENTICATED"
    ),
    "half a key": said({}, UNKNOWN_KEY, as_="hr_a", status=401, code="UNAUTHENTICATED"),
    "a token that is none": said(
        {},
        "The token is not believed: Not enough segments.",
        as_="x",
        status=401,
        code="UNAUTHENTICATED",
    ),
    "a scope that does not reach": said(
        {},
        "This needs the scope 'consume', which this key lacks.",
        as_="check",
        status=403,
        code="FORBIDDEN",
    ),
    "two credentials": Bad(
        says="The header authorization is sent more than once.",
        json=GOOD,
        headers=[("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
        as_=None,
    ),
    "two names in two headers": Bad(
        says="The header idempotency-key is sent more than once.",
        json=GOOD,
        headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")],
    ),
    "no content type": Bad(says=MEDIA, body=b"{}", status=415, code="UNSUPPORTED_MEDIA_TYPE"),
    "a form": Bad(
        says=MEDIA,
        body=b"feature=calls",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        status=415,
        code="UNSUPPORTED_MEDIA_TYPE",
    ),
    "plain text": Bad(
        says=MEDIA,
        body=b"{}",
        headers={"Content-Type": "text/plain"},
        status=415,
        code="UNSUPPORTED_MEDIA_TYPE",
    ),
    "another charset": Bad(
        says=MEDIA,
        body=b"{}",
        headers={"Content-Type": "application/json; charset=utf-16"},
        status=415,
        code="UNSUPPORTED_MEDIA_TYPE",
    ),
    "a compressed body": Bad(
        says="Send the body without a Content-Encoding.",
        body=b"{}",
        headers={**JSON, "Content-Encoding": "gzip"},
        status=415,
        code="UNSUPPORTED_MEDIA_TYPE",
    ),
    "a body too large": Bad(
        says="The body may have at most 16384 bytes.",
        body=b" " * 16_385,
        headers=JSON,
        status=413,
        code="BODY_TOO_LARGE",
    ),
    "a path that is none": Bad(
        says="There is nothing at this path.",
        path="/v1/consumes",
        json=GOOD,
        status=404,
        code="NOT_FOUND",
    ),
    "a path with a slash too many": Bad(
        says="There is nothing at this path.",
        path="/v1/consume/",
        json=GOOD,
        status=404,
        code="NOT_FOUND",
    ),
    "a webhook where no secret is set": Bad(
        says="There is nothing at this path.",
        path="/webhooks/stripe",
        json={},
        status=404,
        code="NOT_FOUND",
    ),
    "a probe by POST": Bad(
        says="POST is not answered here; use GET, HEAD.",
        path="/healthz",
        json={},
        status=405,
        code="METHOD_NOT_ALLOWED",
    ),
}

TABLES = {"bodies": BODIES, "fields": FIELDS, "requests": REQUESTS}


async def ask(site: Site, bad: Bad) -> httpx.Response:
    headers = list(bad.headers.items()) if isinstance(bad.headers, dict) else list(bad.headers)
    if bad.as_ is not None:
        headers.append(("Authorization", f"Bearer {site.keys.get(bad.as_, bad.as_)}"))
    sent: dict[str, Any] = {} if bad.json is None else {"json": bad.json}
    if bad.body is not None:
        sent["content"] = bad.body
    return await site.client.request(bad.method, bad.path, headers=headers, **sent)


def faults(bad: Bad, answered: httpx.Response) -> list[str]:
    """Return what is wrong with the answer to a bad request."""
    problem = answered.json()
    headers = answered.headers
    expected: dict[str, tuple[object, object]] = {
        "detail": (problem["detail"], bad.says),
        "status": ((answered.status_code, problem["status"]), (bad.status, bad.status)),
        "code": (problem["code"], bad.code),
        "type": (problem["type"], f"/docs/errors/{bad.code}.md"),
        "content-type": (headers["content-type"], "application/problem+json"),
        "correlation id": (bool(headers["x-correlation-id"]), True),
        "www-authenticate": ("www-authenticate" in headers, bad.status == 401),
        "allow": ("allow" in headers, bad.status == 405),
    }
    return [
        f"{name}: {is_!r}, not {wanted!r}"
        for name, (is_, wanted) in expected.items()
        if is_ != wanted
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
async def test_a_bad_request_is_told_precisely_and_changes_nothing(
    site: Site, table: dict[str, Bad]
) -> None:
    wrong: dict[str, list[str]] = {}
    for name, bad in table.items():
        found = faults(bad, await ask(site, bad))
        if used := await site.used("calls") + await site.used("sites"):
            found.append(f"{used} units were counted")
        if found:
            wrong[name] = found
    assert wrong == {}
    await site.core.drainer.drain(range(256))
    assert await site.core.database.fetchval("select count(*) from usage_events") == 0


def test_the_table_is_not_short() -> None:
    assert sum(len(table) for table in TABLES.values()) >= 80
