"""What applying a catalog would change, for a person to read and for a program to judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.catalog.consequences import consequence
from api.catalog.facts import FactPath, facts_of
from api.catalog.fields import shown
from api.domain.catalog import Catalog, Scalar


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs; ``before`` None: it is new, ``after`` None: it is gone.

    ``path`` names it by what it belongs to: ``("plan", "starter", "tx_post", "month")``.
    ``warning`` says what the change does to customers who rely on the old catalog.
    """

    path: FactPath
    before: Scalar | None
    after: Scalar | None
    warning: str | None = None

    def __str__(self) -> str:
        """Return a line such as ``plan starter: tx_post month 300 → 500``."""
        place = " ".join(self.path[:2])
        if len(self.path) > _PART:
            place += f": {' '.join(self.path[_PART:])}"
        if self.before is None:
            return f"{place} added: {_written(self.after)}"
        if self.after is None:
            return f"{place} removed: {_written(self.before)}"
        return f"{place} {_written(self.before)} → {_written(self.after)}"

    def to_json(self) -> Mapping[str, object]:
        """Return the change as a script reads it."""
        return {
            "path": list(self.path),
            "before": self.before,
            "after": self.after,
            "warning": self.warning,
            "text": str(self),
        }


_PART = 2
"""The length of the path of a whole part: ``("plan", "starter")``."""


def difference(old: Catalog | None, new: Catalog) -> tuple[Change, ...]:
    """Return what ``new`` changes, in its own order, then what it no longer has.

    A part that is gone is one change, however much it held. ``old`` None: nothing was sold before.
    Equal catalogs differ in nothing, and neither do those that only number the same order of plans
    differently.
    """
    before = {} if old is None else facts_of(old)
    after = facts_of(new)
    changes = [
        _change(old, new, path, before.get(path), fact)
        for path, fact in after.items()
        if not _same(before.get(path), fact)
    ]
    for path, fact in before.items():
        gone_with_part = len(path) > _PART and path[:_PART] not in after
        if path not in after and not gone_with_part:
            changes.append(_change(old, new, path, fact, None))
    return tuple(changes)


def _change(
    old: Catalog | None,
    new: Catalog,
    path: FactPath,
    before: Scalar | None,
    after: Scalar | None,
) -> Change:
    warning = None if old is None else consequence(old, new, path, before, after)
    return Change(path, before, after, warning)


def _same(before: Scalar | None, after: Scalar) -> bool:
    # True == 1 in Python, and a feature that was on is not the number one.
    return before == after and isinstance(before, bool) == isinstance(after, bool)


def _written(value: Scalar | None) -> str:
    return value if isinstance(value, str) else shown(value)
