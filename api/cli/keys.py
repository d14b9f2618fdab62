"""``headroom keys``: API keys of services."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.operator import actor_name
from api.cli.options import Actor, DataDir, Json
from api.cli.output import note, say, say_json, say_table
from api.cli.running import on_core
from api.gates.api_keys import ApiKey, ApiKeys
from api.gates.principal import Scope
from api.wiring import Core

app = typer.Typer(no_args_is_help=True, help="API keys of services.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the audit log will call its user.")],
    *,
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "a new service",
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, once: only its digest is kept."""

    async def made(core: Core) -> tuple[str, ApiKey]:
        keys = ApiKeys(core.database)
        who = actor or actor_name()
        return await keys.create(name, scope, core.clock.now(), actor=who, reason=reason)

    plain, key = on_core(data_dir, made)
    if as_json:
        say_json({"key": plain, "id": key.id, "name": key.name, "scopes": key.scopes})
    else:
        note(f"Key {key.id}, {key.name}: {', '.join(key.scopes)}. It is not shown again.")
        say(plain)


@app.command(name="list")
def list_(*, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List the keys, newest first, revoked ones too."""
    found = on_core(data_dir, lambda core: ApiKeys(core.database).list_())
    if as_json:
        say_json(found)
        return
    rows = [
        (k.id, k.name, k.prefix, ",".join(k.scopes), k.created_at, k.last_used_at, k.revoked_at)
        for k in found
    ]
    say_table(("id", "name", "prefix", "scopes", "created", "last used", "revoked"), rows)


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(help="Its id, name or prefix, as in the list.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "no longer needed",
    actor: Actor = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Revoke a key; it is refused everywhere within seconds."""

    async def revoked(core: Core) -> ApiKey:
        keys = ApiKeys(core.database)
        return await keys.revoke(
            which, core.clock.now(), actor=actor or actor_name(), reason=reason
        )

    key = on_core(data_dir, revoked)
    if as_json:
        say_json(key)
    else:
        say(f"Key {key.id}, {key.name}, is revoked.")
