"""The core: record, counters, catalog and gate, built from settings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from api.catalog.changes import Changes
from api.catalog.customers import Customers
from api.catalog.holders import Holders
from api.catalog.publisher import Publisher
from api.catalog.revisions import Revisions
from api.gates.answers import RecordedAnswers
from api.gates.charging import Charging
from api.gates.consume import Gate
from api.gates.holding import HoldGate
from api.gates.judge import Judge
from api.gates.lacking import Lacking
from api.gates.outage import Outage
from api.gates.releases import Releases
from api.gates.repair import Repair
from api.infra.clock import Clock
from api.infra.postgres import Database
from api.infra.redis import RedisDoor
from api.infra.settings import Settings, SettingsError
from api.ledger.charges import Charges
from api.ledger.holds import Holds
from api.metering.blind import Blind
from api.metering.counters import Counters
from api.metering.drainer import Drainer
from api.metering.drift import DriftCheck
from api.metering.epochs import Epochs
from api.metering.hydration import Hydration
from api.metering.partitions import Partitions
from api.metering.pending import Deadlines
from api.metering.resolve import Resolving
from api.metering.undo import Undo
from api.metering.usage import Usage


@dataclass(frozen=True, slots=True)
class Core:
    """What every way in needs: record, counters, catalog and gate."""

    settings: Settings
    clock: Clock
    database: Database
    door: RedisDoor
    revisions: Revisions
    customers: Customers
    changes: Changes
    publisher: Publisher
    holders: Holders
    partitions: Partitions
    drainer: Drainer
    hydration: Hydration
    drift: DriftCheck
    usage: Usage
    outage: Outage
    gate: Gate
    holding: HoldGate
    deadlines: Deadlines
    releases: Releases
    repair: Repair


@asynccontextmanager
async def core(
    settings: Settings, clock: Clock, database_url: str, redis_url: str
) -> AsyncGenerator[Core]:
    """Build the core on these engines, and take it down in the opposite order.

    The counter store may be out of reach at the start; the door connects when it can.
    Raises: Unavailable when the record cannot be reached.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            await Database.open(
                database_url,
                max_size=settings.database_pool,
                direct_dsn=settings.database_direct_url,
                statement_cache=settings.pooled_statements or None,
            )
        )
        epochs = Epochs(database)
        door = RedisDoor(
            redis_url,
            register=epochs.register,
            reopen=epochs.reopen,
            most_waiting=settings.redis_max_waiting,
        )
        stack.push_async_callback(door.close)
        door.start()
        revisions = Revisions(database)
        await revisions.refresh()
        await stack.enter_async_context(revisions.follow())
        customers = Customers(database, revisions)
        publisher = Publisher(database, revisions, door)
        changes = Changes(database, revisions, publisher)
        holders = Holders(customers, changes)
        partitions = Partitions(database)
        drainer = Drainer(database, door, partitions)
        hydration = Hydration(database, door, drainer)
        outage = Outage(Blind(database, partitions), hydration, holders, door)
        counters = Counters(
            door,
            journal_max=settings.journal_max_entries,
            max_skew_ms=0 if settings.development else settings.max_skew_ms,
        )
        judge = Judge(door, counters, drainer, hydration, holders, epochs.reachable)
        charges = Charges(database, partitions.ensure)
        lacking = Lacking(database, revisions, holders)
        deadlines = Deadlines(database, hydration)
        charging = Charging(
            door=door,
            judge=judge,
            undo=Undo(door),
            deadlines=deadlines,
            charges=charges,
            holders=holders,
            lacking=lacking,
        )
        answers = RecordedAnswers(database, holders)
        gate = Gate(revisions, judge, outage, answers, charging, lacking)
        holding = HoldGate(
            database=database,
            gate=gate,
            charging=charging,
            charges=charges,
            holds=Holds(database),
            resolving=Resolving(door),
            names=holders,
        )
        drift = DriftCheck(database, door, drainer, hydration)
        yield Core(
            settings=settings,
            clock=clock,
            database=database,
            door=door,
            revisions=revisions,
            customers=customers,
            changes=changes,
            publisher=publisher,
            holders=holders,
            partitions=partitions,
            drainer=drainer,
            hydration=hydration,
            drift=drift,
            usage=Usage(database),
            outage=outage,
            gate=gate,
            holding=holding,
            deadlines=deadlines,
            releases=Releases(database, drainer, hydration, holders, gate),
            repair=Repair(
                database=database,
                door=door,
                revisions=revisions,
                holders=holders,
                changes=changes,
                drainer=drainer,
                hydration=hydration,
                drift=drift,
                gate=gate,
            ),
        )


def engines_of(settings: Settings) -> tuple[str, str]:
    """Return where record and counters are, for a process that was told by its environment.

    Raises: SettingsError.
    """
    if settings.database_url is None or settings.redis_url is None:
        raise SettingsError(["DATABASE_URL and REDIS_URL: this process needs both."])
    return settings.database_url, settings.redis_url
