"""One server for every test of a command; each test has customers of its own."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.program import CATALOG, Server, folder, run, serving

_numbers = count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with folder() as data_dir, serving(data_dir, "--catalog", str(CATALOG)) as started:
        assert run("customers", "create", "x", data_dir=data_dir).status == 0
        yield started


@pytest.fixture(scope="session")
def key(server: Server) -> str:
    return server.key("consume")


@pytest.fixture
def customer(server: Server) -> str:
    name = f"customer-{next(_numbers)}"
    made = run("customers", "create", name, data_dir=server.data_dir)
    assert made.status == 0, made.err
    return name
