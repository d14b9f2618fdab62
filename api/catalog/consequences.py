"""What a change of the catalog does to customers who already rely on the old one."""

from __future__ import annotations

from api.catalog.facts import FactPath
from api.catalog.limits import UNLIMITED
from api.domain.catalog import Catalog, FeatureKind, Limit, PlanFeature, Scalar, WindowKind

_WINDOWS = frozenset(kind.value for kind in WindowKind)


def consequence(
    old: Catalog, new: Catalog, path: FactPath, before: Scalar | None, after: Scalar | None
) -> str | None:
    """Return what an operator must know before the fact at ``path`` changes, None if nothing."""
    match path:
        case ("cost", feature):
            return _of_cost(old, new, feature)
        case (part, _):
            return _of_part(part, before, after)
        case ("plan" | "add-on", _, name, *_) if name.startswith("price "):
            return _of_price(before, after)
        case ("plan" | "add-on", _, name, *_) if name in old.features:
            return _of_offer(old, new, path, before, after)
        case ("plan", key, name) if name.startswith("credits "):
            return _of_credits(old, key, before, after)
        case _:
            return _of_setting(path, before, after)


def _of_setting(path: FactPath, before: Scalar | None, after: Scalar | None) -> str | None:
    if before is None or after is None:
        return None
    warnings = {
        ("feature", "durability", "fast"): "answers no longer wait for the record: "
        "a lost Redis forgets undrained units",
        ("feature", "outage", "open"): "while counters cannot be reached, every call passes",
        ("past due", "past due", "withdraw"): "customers who are past due lose what they paid for "
        "at once",
    }
    if path[-1] == "default plan":
        return f"customers without a subscription move to plan {after}"
    if path == ("product",):
        return "this looks like another product's catalog"
    return warnings.get((path[0], path[-1], str(after)))


def _of_part(part: str, before: Scalar | None, after: Scalar | None) -> str | None:
    if after is None:
        return {
            "plan": "customers who hold it fall to their default plan",
            "add-on": "customers who hold it lose what it adds",
            "feature": "calls that name it are answered UNKNOWN_FEATURE",
            "pack": "who is paying for it now gets no credits; those bought before stay",
            "customer type": "refused while there is a customer of this type",
        }[part]
    if part == "feature" and before is not None:
        return "refused: a kind cannot change, give the new feature another key"
    return None


def _of_cost(old: Catalog, new: Catalog, feature: str) -> str | None:
    before, after = old.costs.get(feature), new.costs.get(feature)
    if after is None or feature not in old.features:
        return None
    if before is None:
        return "calls beyond what a plan includes are refused without credits"
    dearer = after.credits * before.per > before.credits * after.per
    if dearer or after.minimum > before.minimum:
        return "calls cost more at once; what was charged before stays"
    return None


def _of_credits(old: Catalog, plan: str, before: Scalar | None, after: Scalar | None) -> str | None:
    """Credits given stay as they are: a catalog only says what arrives from now on."""
    if plan not in old.plans or not isinstance(before, int):
        return None
    if after is None or (isinstance(after, int) and after < before):
        return "from the next month on; credits already given stay"
    return None


def _of_price(before: Scalar | None, after: Scalar | None) -> str | None:
    if before is None:
        return None
    if after is None:
        return "subscriptions to this price no longer lead to a plan"
    return "subscriptions sold before keep the price they were sold at"


def _of_offer(
    old: Catalog, new: Catalog, path: FactPath, before: Scalar | None, after: Scalar | None
) -> str | None:
    part, holder, feature, *rest = path
    known = _offer(old, part, holder, feature)
    if known is None:
        return None
    offered = _offer(new, part, holder, feature)
    if offered is None:
        return f"customers of this {part} lose {feature}"
    match rest:
        case [window, "overage"]:
            return _of_overage(_limit(offered, window), before)
        case [window] if feature in new.costs and any(
            _includes(offer, window) for offer in (known, offered)
        ):
            return _of_included(_limit(offered, window), before, after)
        case [] | [_] if not rest or rest[0] in _WINDOWS:
            return _of_given(new.features[feature].kind, before, after, windowed=bool(rest))
    return None


def _of_given(
    kind: FeatureKind, before: Scalar | None, after: Scalar | None, *, windowed: bool
) -> str | None:
    if after is None or kind not in (FeatureKind.METERED, FeatureKind.ALLOCATION):
        return None
    if before is None:
        return "recorded usage counts against it: it may be full at once" if windowed else None
    return _of_units(before, after, held=kind is FeatureKind.ALLOCATION)


def _of_units(before: Scalar, after: Scalar, *, held: bool) -> str | None:
    if not _lowered(before, after):
        return None
    if held:
        return "customers who hold more keep it, and get no more"
    return "customers who have used more are refused at once"


def _of_included(now: Limit | None, before: Scalar | None, after: Scalar | None) -> str | None:
    if now is None:
        return "units that were included cost credits"
    if before is None or after is None or not _lowered(before, after):
        return None
    if now.overage:
        return "customers who have used more pay with credits at once"
    return "customers who have used more are refused at once"


def _of_overage(now: Limit | None, before: Scalar | None) -> str | None:
    if now is None:
        return None
    if before is None:
        return "units past the limit cost credits, and are refused without any"
    return "units past the limit are refused, whatever credits there are"


def _lowered(before: Scalar, after: Scalar) -> bool:
    return after != UNLIMITED and (
        before == UNLIMITED
        or (isinstance(before, int) and isinstance(after, int) and after < before)
    )


def _includes(offer: PlanFeature, window: str) -> bool:
    limit = _limit(offer, window)
    return limit is not None and limit.overage


def _limit(offer: PlanFeature, window: str) -> Limit | None:
    return next((limit for limit in offer.limits if limit.window == window), None)


def _offer(catalog: Catalog, part: str, holder: str, feature: str) -> PlanFeature | None:
    """Return what is given; None where it is not."""
    holders = catalog.plans if part == "plan" else catalog.add_ons
    offer = holders[holder].features.get(feature) if holder in holders else None
    return offer if offer is not None and offer.enabled else None
