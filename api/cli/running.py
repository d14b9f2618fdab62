"""Running one operation of an operator against a server's engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from api.cli.engines import opened
from api.infra.settings import Settings
from api.infra.telemetry import configure_logging, correlated
from api.wiring import Core

T = TypeVar("T")


def settings_here() -> Settings:
    """Read the environment, and keep what is logged to what a person must see.

    Raises: SettingsError.
    """
    settings = Settings.from_environment(os.environ)
    configure_logging("ERROR" if settings.log_level in ("INFO", "WARNING") else settings.log_level)
    return settings


def on_core(data_dir: Path | None, work: Callable[[Core], Awaitable[T]]) -> T:
    """Do ``work`` on the core of the server found. Raises: whatever it raises; NoServer."""
    settings = settings_here()

    async def run() -> T:
        with correlated():
            async with opened(settings, data_dir) as core:
                return await work(core)

    return asyncio.run(run())
