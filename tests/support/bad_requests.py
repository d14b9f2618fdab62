"""Bad bodies and fields, and what each is told; see tests/web/test_bad_input.py."""

import base64
from dataclasses import dataclass, field
from typing import Any

from api.domain.catalog import MAX_UNITS

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
