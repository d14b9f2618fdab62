"""The table at the end of a measurement says what was reached, and which goals that meets."""

import pytest

from bench.goals import GOALS, Goal, verdicts

PARTS = {goal.part for goal in GOALS}
AT_MOST = Goal("cpu", "CPU", 0.45)
AT_LEAST = Goal("rate", "requests", 2.0, least=True)


@pytest.mark.parametrize(
    ("goal", "reached", "met"),
    [
        (AT_MOST, 0.45, True),
        (AT_MOST, 0.46, False),
        (AT_LEAST, 2.0, True),
        (AT_LEAST, 1.99, False),
    ],
)
def test_a_goal_is_met_up_to_its_bound(goal: Goal, reached: float, met: bool) -> None:  # noqa: FBT001 - a column of the table
    assert goal.met(reached) is met


def test_every_goal_that_was_measured_has_its_verdict() -> None:
    _, *lines = verdicts({goal.name: goal.bound for goal in GOALS} | {"item": 0.13}, PARTS)
    assert len(lines) == len(GOALS)
    missed = [line for line in lines if not line.endswith(" met")]
    assert [line.split("batch")[0] for line in missed] == ["one item of a 100-item "]
    assert missed[0].endswith("0.13  missed")


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    _, *lines = verdicts({"v1": 0.4}, PARTS)
    met = [line for line in lines if line.endswith(" met")]
    assert [line.split(",")[0] for line in met] == ["/v1/consume"]
    assert all(line.endswith("not measured") for line in lines if line not in met)


def test_goals_of_parts_that_did_not_run_are_not_told() -> None:
    _, *lines = verdicts({"growth": 1.2}, {"growth", "drain"})
    assert len(lines) == 1
    assert lines[0].endswith("1.20  missed")


def test_names_of_figures_are_told_once_but_for_the_goal_that_has_two_steps() -> None:
    names = [goal.name for goal in GOALS]
    assert [name for name in names if names.count(name) > 1] == ["graphql", "graphql"]
