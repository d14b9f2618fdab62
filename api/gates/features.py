"""Features of the newest catalog: by their keys, and by the numbers that stand for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from api.domain.catalog import Catalog, Durability, Feature, FeatureKind
from api.domain.errors import UnknownFeature
from api.infra.taskless import in_task


class Selling(Protocol):
    """What the gate must know of what is sold: the newest revision, in memory."""

    @property
    def catalog(self) -> Catalog:
        """The newest catalog."""
        ...

    @property
    def feature_ids(self) -> Mapping[str, int]:
        """The stable number of each feature."""
        ...


class Revisions(Protocol):
    """Where the newest revision is found."""

    @property
    def newest(self) -> Selling:
        """The newest revision known to this process."""
        ...

    async def refresh(self) -> object:
        """Read the newest revision from the record."""
        ...


class Usual(NamedTuple):
    """A feature that the counters alone decide and nobody waits for the record of."""

    feature: Feature
    id: int
    replay_ms: int


class Features:
    """What the gate must know of features; a key not known yet is looked for in the record."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._usual: dict[str, Usual] = {}
        self._usual_in: Selling | None = None

    def usual(self, key: str) -> Usual | None:
        """Return what is known of a metered feature, fast and free of credits; None of others."""
        newest = self._revisions.newest
        if newest is not self._usual_in:
            self._usual, self._usual_in = _usual_of(newest), newest
        return self._usual.get(key)

    @property
    def catalog(self) -> Catalog:
        """The newest catalog known to this process."""
        return self._revisions.newest.catalog

    async def get(self, key: str) -> Feature:
        """Return the feature of that key. Raises: UnknownFeature, Unavailable."""
        feature = self.catalog.features.get(key)
        if feature is None:
            await in_task()
            await self._revisions.refresh()
            feature = self.catalog.features.get(key)
        if feature is None:
            raise UnknownFeature(f"the catalog has no feature {key!r}")
        return feature

    def id_of(self, key: str) -> int:
        """Return the number that stands for a feature of the newest catalog."""
        return self._revisions.newest.feature_ids[key]

    def key_of(self, feature_id: int) -> str:
        """Return the feature that a number stands for. Raises: UnknownFeature."""
        for key, number in self._revisions.newest.feature_ids.items():
            if number == feature_id:
                return key
        raise UnknownFeature("the catalog has this feature no more")


def _usual_of(selling: Selling) -> dict[str, Usual]:
    catalog = selling.catalog
    return {
        key: Usual(feature, selling.feature_ids[key], feature.replay_seconds * 1000)
        for key, feature in catalog.features.items()
        if feature.kind is FeatureKind.METERED
        and feature.durability is Durability.FAST
        and key not in catalog.costs
        and key in selling.feature_ids
    }
