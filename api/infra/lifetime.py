"""How long a process of ours lives: no longer than its parent, and until it is told to stop."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however that ends.

    Killed, not asked: a process that drains for a while would hold on to the listening socket,
    and the next start would find its port in use.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that wanted this one is gone")


@contextmanager
def asked_to_stop(*, insisting: bool = True) -> Generator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; a second signal ends the process at once.

    Without ``insisting`` it changes nothing. So for a process that has a parent: systemd and its
    like tell all of a group, the parent tells it again, and neither is in a hurry by that. Who is
    tells the parent twice, or kills.

    For the main thread, inside a running loop.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def heard(number: signal.Signals) -> None:
        if insisting and asked.is_set():
            os._exit(128 + number)
        asked.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, heard, number)
    try:
        yield asked
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def told_by(number: signal.Signals) -> Generator[asyncio.Event]:
    """Yield an event that the signal sets, each time it comes; whoever waits clears it.

    For the main thread, inside a running loop.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        loop.remove_signal_handler(number)


async def first_of(*events: asyncio.Event) -> None:
    """Return once one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def tell_ready(pipe: int | None) -> None:
    """Tell whoever holds the other end of ``pipe`` that this process does its work."""
    if pipe is not None:
        with suppress(BrokenPipeError):
            os.write(pipe, b"1")
        os.close(pipe)


def settings_from(pipe: int | None) -> dict[str, str]:
    """Return the settings that the parent tells, once it knows them; {} without a parent.

    Ends this process where the parent goes away without a word.
    """
    if pipe is None:
        return {}
    with os.fdopen(pipe, "rb") as told:
        text = told.read()
    if not text:
        sys.exit(0)
    settings: dict[str, str] = json.loads(text)
    return settings
