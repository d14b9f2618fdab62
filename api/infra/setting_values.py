"""How the text of a setting becomes a value.

Each parser returns the value, or raises ValueError with the words that end "… is not": what would
have been accepted, and nothing of what was given.
"""

import re
from collections.abc import Callable
from datetime import time
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

POSTGRES = ("postgresql", "postgres")
REDIS = ("redis", "rediss", "unix")

_HMAC_BYTES = 32
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = "hours of one day, as 09:00-17:30"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def text(value: str) -> str:
    """Take any text."""
    return value


def whole(least: int, most: int) -> Callable[[str], int]:
    """Take a whole number within bounds, both included."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return parse


def flag(value: str) -> bool:
    """Take yes or no, in the usual words."""
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if value.lower() not in known:
        raise ValueError("true or false")
    return known[value.lower()]


def one_of(*words: str) -> Callable[[str], str]:
    """Take one of a few words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(" or ".join(words))
        return value

    return parse


def address(*schemes: str) -> Callable[[str], str]:
    """Take an address of one of these schemes."""
    wanted = "an address that begins with " + " or ".join(f"{scheme}://" for scheme in schemes)

    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            whole = parts.scheme in schemes and bool(parts.netloc or parts.path or parts.query)
            _ = parts.port
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(wanted)
        return value

    return parse


def web_address(value: str) -> str:
    """Take an address that nobody on the way can read or change."""
    parts = urlsplit(address("https", "http")(value))
    if not parts.hostname or (parts.scheme == "http" and parts.hostname not in _LOOPBACK):
        raise ValueError("an https:// address (http:// only on this machine)")
    return value


def secret_key(value: str) -> str:
    """Take a key that Stripe gives to servers; a publishable one would fail later."""
    if not re.fullmatch(r"(sk|rk)_(test|live)_\S+", value):
        raise ValueError("a secret or restricted key: sk_test_…, sk_live_…, rk_test_… or rk_live_…")
    return value


def webhook_secrets(value: str) -> tuple[str, ...]:
    """Take one signing secret, or several during a rotation."""
    secrets = tuple(part.strip() for part in value.split(","))
    if not all(re.fullmatch(r"whsec_\S+", secret) for secret in secrets):
        raise ValueError("one or several signing secrets, whsec_…, with commas between them")
    return secrets


def token_secret(value: str) -> str:
    """Take a secret as long as the HMAC's own output (RFC 7518, section 3.2)."""
    if len(value.encode()) < _HMAC_BYTES:
        raise ValueError(f"at least {_HMAC_BYTES} bytes long")
    return value


def time_zone(value: str) -> str:
    """Take the name of a time zone."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone, as Europe/Berlin") from None
    return value


def hours(value: str) -> tuple[time, time]:
    """Take hours of one day, as 09:00-17:30."""
    try:
        opens, closes = (time.fromisoformat(part.strip()) for part in value.split("-"))
    except ValueError:
        raise ValueError(_HOURS) from None
    if not opens < closes or opens.tzinfo or closes.tzinfo:
        raise ValueError(_HOURS)
    return opens, closes


def weekdays(value: str) -> frozenset[int]:
    """Take days of the week by comma, as mon,tue; Monday is 0."""
    named = [part.strip().lower() for part in value.split(",")]
    if not all(part in _DAYS for part in named):
        raise ValueError(f"days by comma, of {', '.join(_DAYS)}")
    return frozenset(_DAYS.index(part) for part in named)


def as_written(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Take what ``parse`` takes, as it was written."""

    def kept(value: str) -> str:
        parse(value)
        return value

    return kept
