"""Where customers lie is kept of those of late, and of nobody whose key is longer than any."""

import pytest

from api.domain.admission import Action
from api.metering import counters
from api.metering.counters import LONGEST_KEPT, Operation, asking


@pytest.mark.parametrize(("length", "kept"), [(LONGEST_KEPT, 1), (LONGEST_KEPT + 1, 0)])
def test_no_longer_key_is_kept_than_a_customer_has(length: int, kept: int) -> None:
    customer = "k" * length
    counters._place.cache_clear()  # noqa: SLF001 - what it keeps is asked
    place, _, _ = asking(Operation(Action.CHECK, customer, "op", ((1, 1),)), 0, b"")
    assert customer in place.names[0]
    assert counters._place.cache_info().currsize == kept  # noqa: SLF001 - likewise
