"""Documents that must be refused, made from good ones by one change."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_CHANGES: tuple[Callable[[Random, str], str], ...] = (
    lambda rng, text: text[: rng.randrange(len(text))],
    lambda _, text: text.replace("{", "{ nothing ", 1),
    lambda _, text: text.replace("{", "{ __typename { nothing } ", 1),
    lambda _, text: text.replace("{", "{ ...Missing ", 1),
    lambda _, text: text.replace("{", "{ __typename @unheard ", 1),
    lambda _, text: text.replace("{", "{ __typename @skip ", 1),
    lambda _, text: text.replace("{", "{ __typename @skip(if: $missing) ", 1),
    lambda _, text: text.replace("{", "{ x: __typename x: __schema { __typename } ", 1),
    lambda _, text: text.replace("{", '{ __typename @include(if: "yes") ', 1),
    lambda _, text: text + " fragment Unused on Customer { id }",
    lambda _, text: text + " fragment Loop on Customer { ...Loop }",
    lambda _, text: text + " subscription { nothing }",
    lambda _, text: text + " { __typename } { __typename }",
    lambda _, text: text + " type Query { id: ID }",
    lambda _, text: text + " \ud800",
    lambda _, text: text + " \x00",
    lambda _, text: re.sub(r"\w+: \$v0", "nothing: $v0", text, count=1),
    lambda _, text: re.sub(r"\$v0: [\w!\[\]]+", "$v0: WindowUsage", text, count=1),
    lambda _, text: re.sub(r"\$v0: [\w!\[\]]+", "$v0: JSON", text, count=1),
    lambda _, text: re.sub(r"\([^()]*\)", "", text, count=1),
    lambda _, text: text + " " * 17_000,
    lambda _, text: text.replace("{", "{ " + "__typename " * 2000, 1),
    lambda _, text: text.replace("{", "{ " + " ".join(f"b{n}: __typename" for n in range(51)), 1),
    lambda _, text: text.replace("{", "{ __typename" + " @skip(if: false)" * 51 + " ", 1),
    lambda _, text: "{ me { plan " + "{ features " * 13 + text + "}" * 15,
    lambda _, __: "",
    lambda _, __: "fragment Alone on Customer { id }",
)


def broken(rng: Random, text: str) -> str:
    """Return ``text`` with one change that makes it, mostly, invalid."""
    return rng.choice(_CHANGES)(rng, text)
