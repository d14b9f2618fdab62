"""What text may be kept: keys, names, addresses, reasons and time zones that strangers give."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files

from api.domain.errors import InvalidInput

LONGEST_KEY = 200
LONGEST_NAME = 200
LONGEST_EMAIL = 320
LONGEST_REASON = 1000

_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of a character, and separators that would break a line."""


def is_clean(text: str) -> bool:
    """Tell whether ``text`` can be stored, and shown on one line."""
    if text.isascii():
        return not text or text.isprintable()
    return not any(unicodedata.category(character) in _UNFIT for character in text)


def is_customer_key(key: str) -> bool:
    """Tell whether this could be a customer's key: 1 to 200 characters, none of control."""
    return 0 < len(key) <= LONGEST_KEY and is_clean(key)


def require_customer_key(key: str) -> str:
    """Return ``key``. Raises: InvalidInput, where no customer may be called so."""
    if not is_customer_key(key):
        raise InvalidInput(
            f"A customer's key has 1 to {LONGEST_KEY} characters and no control characters."
        )
    return key


def require_name(name: str | None) -> str | None:
    """Return ``name``. Raises: InvalidInput, where it is too long or holds control characters."""
    if name is not None and not (len(name) <= LONGEST_NAME and is_clean(name)):
        raise InvalidInput(
            f"A customer's name has at most {LONGEST_NAME} characters and no control characters."
        )
    return name


def require_email(email: str | None) -> str | None:
    """Return ``email``. Raises: InvalidInput, where no mail could ever be sent to it."""
    if email is None:
        return None
    local, _, domain = email.rpartition("@")
    spaced = any(character.isspace() for character in email)
    if not local or not domain or spaced or len(email) > LONGEST_EMAIL or not is_clean(email):
        raise InvalidInput("The e-mail address is not one.")
    return email


def require_timezone(name: str | None) -> str | None:
    """Return ``name``. Raises: InvalidInput, where the time zone database has none of that name."""
    if name is None or name in _zones():
        return name
    near = next((zone for zone in _zones() if zone.lower() == name.strip().lower()), None)
    hint = f"did you mean {near!r}?" if near else "give one like 'Europe/Berlin'."
    raise InvalidInput(f"There is no time zone {_shown(name)}; {hint}")


def require_reason(reason: str) -> str:
    """Return ``reason`` without blanks around it.

    Raises: InvalidInput, where nothing is said, too much, or what cannot be stored.
    """
    said = reason.strip()
    if not 0 < len(said) <= LONGEST_REASON or not is_clean(said.replace("\n", " ")):
        raise InvalidInput(
            f"Say why, in 1 to {LONGEST_REASON} characters without control characters."
        )
    return said


def _shown(text: str) -> str:
    shortened = text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}…"
    return repr(shortened)


@cache
def _zones() -> frozenset[str]:
    # The package's own list, so that every machine accepts the same names.
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
