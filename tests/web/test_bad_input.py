"""What the HTTP doors refuse: one line each, the precise error, the right status, no change."""

from typing import Any

import httpx
import pytest

from tests.support.bad_requests import BODIES, FIELDS, GOOD, JSON, Bad, said
from tests.support.site import Site

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
