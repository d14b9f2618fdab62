"""The catalog's history, and applying a new one."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.catalog.difference import Change, difference
from api.catalog.document import to_document
from api.catalog.file import parse
from api.catalog.revisions import Applied, NoCatalog, Revision
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Json

_FILE = "catalog.toml"


@strawberry.type(description="One catalog that was applied; it never changes.")
class CatalogRevision:
    """One line of the catalog's history."""

    number: int
    checksum: str
    applied_at: datetime
    applied_by: str

    @strawberry.field
    async def document(self, info: Info) -> Json:
        """Show the whole catalog."""
        revision = await info.context.services.revisions.get(self.number)
        return Json(to_document(revision.catalog))


@strawberry.type(description="One fact that differs between two catalogs.")
class CatalogChange:
    """What applying would change, for a person and for a program."""

    path: list[str]
    before: Json | None = strawberry.field(description="Null: it is new.")
    after: Json | None = strawberry.field(description="Null: it is gone.")
    warning: str | None = strawberry.field(
        description="What it does to customers who rely on the old catalog."
    )
    text: str


@strawberry.type(description="What applying a catalog changes; on a dry run, what it would change.")
class CatalogApplication:
    """What came of it."""

    applied: bool = strawberry.field(
        description="False on a dry run, and where the catalog was applied already."
    )
    revision: int | None = strawberry.field(description="The revision that is the newest now.")
    changes: list[CatalogChange]
    hindrances: list[str] = strawberry.field(
        description="Why it could not be applied; only on a dry run, else they are an error."
    )
    customers_moved: int


@strawberry.type
class CatalogQuestions:
    """What was sold, and when."""

    @described("Every catalog that was applied, newest first.")
    async def catalog_revisions(
        self, info: Info, first: int = 50, after: str | None = strawberry.UNSET
    ) -> Connection[CatalogRevision]:
        """List the history."""
        expect_first(first, info.context.services.max_page_size)
        before = ids.place_number("CatalogRevision", given(after))
        rows = await info.context.services.revisions.history(first + 1, before)
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda row: ids.cursor("CatalogRevision", row.number),
            node=_revision_of,
        )


@strawberry.type
class CatalogActions:
    """Selling something else."""

    @described(
        "Apply a catalog, given as the text of its file, and bring every customer to it. A bad one "
        "is refused whole, with every problem and its line. Usage is never reset."
    )
    async def apply_catalog(
        self,
        info: Info,
        document: str,
        reason: str,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - an argument of the schema
    ) -> CatalogApplication | None:
        """Check, compare, apply, and move the customers."""
        context = info.context
        revisions = context.services.revisions
        following = parse(document, _FILE)
        present = await _present(context)
        result = CatalogApplication(
            applied=False,
            revision=None if present is None else present.number,
            changes=[
                _change_of(change)
                for change in difference(None if present is None else present.catalog, following)
            ],
            hindrances=[],
            customers_moved=0,
        )
        if dry_run:
            result.hindrances = list(await revisions.hindrances(following))
            return result
        applied = await revisions.apply(following, context.caller.actor, reason, context.at)
        result.applied = applied.number != result.revision
        result.revision = applied.number
        result.customers_moved = await context.services.changes.walk(context.at)
        return result


async def _present(context: Context) -> Revision | None:
    try:
        return await context.services.revisions.current()
    except NoCatalog:
        return None


def _revision_of(row: Applied) -> CatalogRevision:
    return CatalogRevision(
        number=row.number, checksum=row.checksum, applied_at=row.at, applied_by=row.actor
    )


def _change_of(change: Change) -> CatalogChange:
    return CatalogChange(
        path=list(change.path),
        before=None if change.before is None else Json(change.before),
        after=None if change.after is None else Json(change.after),
        warning=change.warning,
        text=str(change),
    )
