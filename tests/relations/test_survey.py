"""The relations of several specs at once."""

from __future__ import annotations

import pytest

from stepforge.commands.terminal.relations import special_case
from stepforge.relations.survey import direct, sides, survey

from .replay import side

NAMES = (
    "adam",
    "adamw",
    "lion",
    "momentum",
    "momentum_ema",
    "qhadam",
    "sgd",
    "signsgd",
    "signum",
    "tiger",
)
LINES = {
    "adam[decoupled_weight_decay] is adamw: PROVED (reals)",
    "adamw with weight_decay = 0 is adam: PROVED (reals)",
    "lion with beta2 = beta1 is tiger (beta is beta1): PROVED (reals)",
    "lion with beta1 = 0 and weight_decay = 0 is signsgd: PROVED (reals)",
    "momentum is momentum_ema (lr is lr/(1 - momentum), beta is momentum and momentum and lr the "
    "same in every step): PROVED (reals)",
    "momentum with momentum = 0 is sgd: PROVED (reals)",
    "momentum_ema with beta = 0 is sgd: PROVED (reals)",
    "qhadam with nu1 = 1 and nu2 = 1 is adam with weight_decay = 0: PROVED (reals)",
    "qhadam with beta1 = 0, beta2 = 0 and eps = 0 is signsgd (no gradient is 0): PROVED (reals)",
    "sgd[use_momentum] with dampening = 0 is momentum (lr the same in every step): PROVED (reals)",
    "signum with beta = 0 is signsgd: PROVED (reals)",
    "tiger with weight_decay = 0 is signum: PROVED (reals)",
}


@pytest.fixture(scope="module")
def lines() -> tuple[set[str], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    specs = [side(name).spec for name in NAMES]
    found = survey(sides(specs), lambda done, count: told.append((done, count)))
    return {special_case(relation) for relation in found}, told


def test_special_cases_are_found(lines: tuple[set[str], list[tuple[int, int]]]) -> None:
    assert lines[0] >= LINES


def test_progress_goes_to_the_end(lines: tuple[set[str], list[tuple[int, int]]]) -> None:
    told = lines[1]
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == list(range(len(told)))


def test_what_follows_from_two_others_is_left_out() -> None:
    assert direct({(0, 1): 1, (1, 2): 1, (0, 2): 2}) == [(0, 1), (1, 2)]
    assert direct({(0, 1): 1, (1, 2): 1, (0, 2): 1}) == [(0, 1), (1, 2), (0, 2)]
