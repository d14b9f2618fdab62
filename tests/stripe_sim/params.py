"""Parameters as Stripe's library writes them: ``items[0][price]=…``, ``metadata[key]=…``."""

# ruff: noqa: ANN401 - a parameter may be anything

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from tests.stripe_sim.errors import invalid, lacking

Json = dict[str, Any]

_KEY = re.compile(r"[^\[\]]+|\[\]")


def decoded(text: str) -> Json:
    """Return the nested parameters of a query or a form; every value is a text."""
    made: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _put(made, _KEY.findall(name), value)
    return {key: _lists(value) for key, value in made.items()}


def _put(into: Json, keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        inner = into.setdefault(str(len(into)) if key == "[]" else key, {})
        if not isinstance(inner, dict):
            raise invalid(f"Invalid parameter: {key}", key)
        into = inner
    into[str(len(into)) if keys[-1] == "[]" else keys[-1]] = value


def _lists(value: Any) -> Any:
    """Turn mappings whose keys are 0, 1, 2 … into lists."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(one) for key, one in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def need(params: Json, name: str) -> Any:
    """Return a parameter that must be there. Raises: Refused."""
    if params.get(name) in (None, ""):
        raise lacking(name)
    return params[name]


def number(params: Json, name: str, default: int | None = None) -> int | None:
    """Return a whole number. Raises: Refused."""
    said = params.get(name)
    if said in (None, ""):
        return default
    try:
        return int(said)
    except (TypeError, ValueError):
        raise invalid(f"Invalid integer: {said}", name) from None


def truth(params: Json, name: str, *, default: bool = False) -> bool:
    """Return a yes or no. Raises: Refused."""
    said = params.get(name)
    if said in (None, ""):
        return default
    if said not in ("true", "false"):
        raise invalid(f"Invalid boolean: {said}", name)
    return bool(said == "true")


def one_of(params: Json, name: str, words: tuple[str, ...], default: str) -> str:
    """Return one of the words that a parameter may be. Raises: Refused."""
    said = params.get(name, default)
    if said not in words:
        raise invalid(f"Invalid {name}: must be one of {', '.join(words)}", name)
    return str(said)


def merged(held: dict[str, str] | None, params: Json, name: str = "metadata") -> dict[str, str]:
    """Return metadata after a request: keys are merged, an empty value unsets one or all."""
    said = params.get(name)
    if said is None:
        return dict(held or {})
    if said == "":
        return {}
    if isinstance(said, list):
        said = {str(at): one for at, one in enumerate(said)}
    both = {**(held or {}), **said}
    return {key: value for key, value in both.items() if value != ""}
