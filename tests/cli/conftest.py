"""One server for every test of a command, and one beside Stripe; each test has its customers."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.program import CATALOG, Server, folder, run, serving
from tests.support.stripe_process import Selling, selling

PAYERS = 14
"""One for each test that changes a subscription, and one for all that do not."""

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


@pytest.fixture(scope="session")
def shop() -> Iterator[Selling]:
    """Return a server beside a simulated Stripe, with customers who hold the plan starter."""
    with selling() as opened:
        keys = [f"payer-{number}" for number in range(PAYERS)]
        for name in keys:
            opened.done("customers", "create", name)
            opened.stripe.subscribe(name, "starter")
        opened.deliver()
        opened.work_until(lambda: all(opened.plan(name) == "starter" for name in keys))
        yield opened


@pytest.fixture(scope="session")
def _payers() -> Iterator[str]:
    return iter([f"payer-{number}" for number in range(1, PAYERS)])


@pytest.fixture
def payer(shop: Selling, _payers: Iterator[str]) -> str:
    """Return one of them, whom no other test knows."""
    name = next(_payers)
    assert shop.plan(name) == "starter"
    return name


@pytest.fixture
def stays(shop: Selling) -> str:
    """Return one whom no test changes."""
    assert shop.plan("payer-0") == "starter"
    return "payer-0"


@pytest.fixture
def newcomer(shop: Selling) -> str:
    """Return a customer of whom Stripe has not heard."""
    name = f"newcomer-{next(_numbers)}"
    shop.done("customers", "create", name)
    return name
