"""A selection of option sets has all that a few options can be together."""

from __future__ import annotations

import itertools

import pytest
from support import STOCK, small, stock

from stepforge.language.spec import Spec
from stepforge.verify.run.coverage import ALL, covering, option_sets, told
from stepforge.verify.rungs.levels import Level

NAMES = tuple("abcdefhk")


def many(count: int = 8, when: str = "") -> Spec:
    lines = "\n".join(f"if {n}:\n    g = g + {i}" for i, n in enumerate(NAMES[:count]))
    return small(f"{lines}\np = p - lr*g", options=NAMES[:count])


@pytest.mark.parametrize(("strength", "most"), [(2, 8), (3, 16)])
def test_every_few_options_take_all_their_values_together(strength: int, most: int) -> None:
    every = list(many().option_sets())
    chosen = covering(every, strength)
    for names in itertools.combinations(NAMES, strength):
        assert len({tuple(options[n] for n in names) for options in chosen}) == 2**strength
    assert chosen[0] == every[0]
    assert len(chosen) <= most
    assert all(options in every for options in chosen)


def test_what_no_option_set_has_need_not_be_covered() -> None:
    every = [s for s in many().option_sets() if not (s["a"] and s["b"])]
    chosen = covering(every, 2)
    assert not any(s["a"] and s["b"] for s in chosen)
    assert {(s["a"], s["b"]) for s in chosen} == {(False, False), (True, False), (False, True)}


def test_few_sets_are_all_looked_at_and_the_deep_level_looks_at_all() -> None:
    for name in STOCK:
        for level in Level:
            assert option_sets(stock(name), level) == list(stock(name).option_sets())
            assert told(stock(name), level) == ""
    assert len(option_sets(many(4), Level.fast)) == 16 == ALL
    assert len(option_sets(many(), Level.deep)) == 256
    assert told(many(), Level.deep) == ""
    assert len(option_sets(many(), Level.fast)) < len(option_sets(many(), Level.full)) < 32


def test_the_level_says_what_it_leaves_out() -> None:
    count = len(option_sets(many(), Level.fast))
    wanted = f"{256 - count} of 256 option sets, but no values of two options together"
    assert told(many(), Level.fast) == wanted
    assert "of three options together" in told(many(), Level.full)
