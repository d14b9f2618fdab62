"""What is said at the end of a run of how compiled operations were compared with general ones."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest

PROPERTY = "roads"


class Taken(NamedTuple):
    """One chunk of cases that both roads answered alike."""

    seed: int
    cases: int
    ran: int
    compiled: int
    seconds: float


def summary(reports: Iterable[pytest.TestReport]) -> str | None:
    """Return one line for all chunks that passed; None where there were none.

    Chunks may have run in other processes: their reports bring what is told here.
    """
    chunks = [
        Taken(*value)
        for report in reports
        for name, value in report.user_properties
        if name == PROPERTY and isinstance(value, list)
    ]
    if not chunks:
        return None
    cases, ran, compiled = (
        sum(figures) for figures in ([one[place] for one in chunks] for place in (1, 2, 3))
    )
    seconds = sum(one.seconds for one in chunks)
    seeds = ", ".join(str(seed) for seed in sorted(one.seed for one in chunks))
    return (
        f"compiled and general operations agree on {cases} generated cases: {ran} ran, "
        f"{compiled} of them compiled ({compiled / ran:.1%}); {seconds:.0f} s of CPU; "
        f"seeds {seeds}"
    )
