"""``headroom customers find --at-provider``."""

from tests.support.stripe_process import Selling

FIND = ("customers", "find", "--at-provider")


def test_somebody_is_found_at_the_provider_and_said_to_be_linked_or_not(
    shop: Selling, newcomer: str
) -> None:
    address = f"{newcomer}@example.com"
    there = shop.stripe.do("customer", email=address)
    [found] = shop.done(*FIND, "--email", address)
    assert (found["there"]["id"], found["linked"]) == (there, None)
    assert there in shop.run(*FIND, "--email", address).out


def test_who_is_not_there_wrong_words_and_no_key_are_each_told(shop: Selling) -> None:
    nobody = shop.run(*FIND, "--email", "nobody@example.com")
    assert (nobody.status, "knows nobody" in nobody.err) == (1, True)
    wrong = shop.run(*FIND, "--provider-id", "cus_1")
    assert (wrong.status, "Give --email with --at-provider" in wrong.err) == (1, True)
    closed = shop.without_a_key(*FIND, "--email", "a@example.com")
    assert (closed.status, "set STRIPE_SECRET_KEY" in closed.err) == (1, True)
