"""What a new catalog changes about credits, as an operator reads it before saying yes."""

from pathlib import Path

import pytest

from api.catalog.difference import difference
from api.catalog.file import parse

AGENTS = (Path(__file__).parents[2] / "examples" / "agents.toml").read_text(encoding="utf-8")


def told(old: str, new: str) -> dict[str, str | None]:
    """Return what replacing ``old`` by ``new`` changes: lines, with their warnings."""
    assert old in AGENTS
    changed = AGENTS.replace(old, new, 1)
    changes = difference(parse(AGENTS, "old.toml"), parse(changed, "new.toml"))
    return {str(change): change.warning for change in changes}


GIFT = """
[packs.gift]
credits = 10
public = false
bucket = "promotional"
priority = 10
expires_days = 30
features = ["image", "chat_tokens"]
customer_types = ["workspace"]
"""
BUILDER_CREDITS = AGENTS[
    AGENTS.index("[plans.builder.credits]") : AGENTS.index("[plans.builder.features]")
]
CHAT = "chat_tokens = { minute = 40_000, month = { units = 100_000, overage"


@pytest.mark.parametrize(
    ("old", "new", "line", "warning"),
    [
        (
            "credits = 8",
            "credits = 9",
            "cost image 8 a unit → 9 a unit",
            "calls cost more at once; what was charged before stays",
        ),
        ("credits = 8", "credits = 7", "cost image 8 a unit → 7 a unit", None),
        (
            "per = 1_000\nminimum = 1",
            "per = 2_000\nminimum = 2",
            (
                "cost chat_tokens 3 for 1000 units, rounded up, at least 1"
                " → 3 for 2000 units, rounded up, at least 2"
            ),
            "calls cost more at once; what was charged before stays",
        ),
        (
            'rounding = "nearest"',
            'rounding = "down"',
            (
                "cost voice_seconds 2 for 60 units, rounded nearest, at least 1"
                " → 2 for 60 units, rounded down, at least 1"
            ),
            None,
        ),
        ("[costs.image]\ncredits = 8\n", "", "cost image removed: 8 a unit", None),
        (
            BUILDER_CREDITS,
            BUILDER_CREDITS.replace("1_000", "900"),
            "plan builder: credits a month 1000 → 900",
            "from the next month on; credits already given stay",
        ),
        (
            BUILDER_CREDITS,
            BUILDER_CREDITS.replace("trial_units = 100", "trial_units = 200"),
            "plan builder: credits on trial 100 → 200",
            None,
        ),
        (
            "rollover = 2_500\n",
            "",
            "plan studio: credits rolled over 2500 → 0",
            "from the next month on; credits already given stay",
        ),
        (
            BUILDER_CREDITS,
            BUILDER_CREDITS.replace("priority = 50", "priority = 60"),
            "plan builder: priority of credits 50 → 60",
            None,
        ),
        (
            BUILDER_CREDITS,
            "",
            "plan builder: credits a month removed: 1000",
            "from the next month on; credits already given stay",
        ),
        (
            CHAT,
            CHAT.replace("100_", "200_"),
            "plan builder: chat_tokens month 100000 → 200000",
            None,
        ),
        (
            CHAT,
            CHAT.replace("100_", "50_"),
            "plan builder: chat_tokens month 100000 → 50000",
            "customers who have used more pay with credits at once",
        ),
        (
            'units = 100_000, overage = "credits"',
            "units = 100_000",
            "plan builder: chat_tokens month overage removed: credits",
            "units past the limit are refused, whatever credits there are",
        ),
        (
            ', month = { units = 100_000, overage = "credits" } }',
            " }",
            "plan builder: chat_tokens month removed: 100000",
            "units that were included cost credits",
        ),
        (
            "[plans.builder.features]\n",
            '[plans.builder.features]\nresearch_run.month = { units = 9, overage = "credits" }\n',
            "plan builder: research_run month added: 9",
            None,
        ),
        (
            "image.day = 100\n",
            'image.day = { units = 100, overage = "credits" }\n',
            "plan builder: image day overage added: credits",
            "units past the limit cost credits, and are refused without any",
        ),
        (
            "image.day = 100\n",
            'image.day = { units = 90, overage = "credits" }\n',
            "plan builder: image day 100 → 90",
            "customers who have used more pay with credits at once",
        ),
        (
            "credits = 500\n",
            "credits = 450\n",
            "pack credits_500: credits 500 → 450",
            None,
        ),
        (
            "amount_minor = 1500",
            "amount_minor = 1600",
            "pack credits_500: price credits_500 15.00 USD once → 16.00 USD once",
            None,
        ),
    ],
)
def test_each_change_is_told_with_what_customers_would_feel(
    old: str, new: str, line: str, warning: str | None
) -> None:
    changes = told(old, new)

    assert line in changes
    assert changes[line] == warning


def test_a_pack_is_told_with_all_that_is_bought() -> None:
    assert set(told("[packs.credits_500]", GIFT + "\n[packs.credits_500]")) == {
        "pack gift added: Gift",
        "pack gift: is public added: false",
        "pack gift: credits added: 10",
        "pack gift: bucket added: promotional",
        "pack gift: priority added: 10",
        "pack gift: expires after days added: 30",
        "pack gift: for features added: chat_tokens, image",
        "pack gift: for customer types added: workspace",
    }


def test_a_pack_that_is_gone_is_one_change_with_a_warning() -> None:
    pack = AGENTS[AGENTS.index("[packs.credits_5000]") :]

    assert told(pack, "") == {
        "pack credits_5000 removed: 5,000 credits": "who is paying for it now gets no credits; "
        "those bought before stay"
    }


def test_a_first_cost_warns_where_the_feature_was_free_and_not_where_it_is_new() -> None:
    cost = "[costs.image]\ncredits = 8\n"
    without = parse(AGENTS.replace(cost, ""), "old.toml")
    new = parse(AGENTS, "new.toml")

    (first,) = difference(without, new)

    assert str(first) == "cost image added: 8 a unit"
    assert first.warning == "calls beyond what a plan includes are refused without credits"
    assert all(change.warning is None for change in difference(None, new))
