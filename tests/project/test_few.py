"""The few specs that stand for all of them have everything, and none of them is spare."""

from __future__ import annotations

from catalogue import CASES, FEW, cover, features, shape
from support import STOCK, stock


def everything(name: str) -> frozenset[str]:
    spec = stock(name)
    return shape(spec).union(*(features(spec, options) for options in spec.option_sets()))


def test_they_have_all_that_the_catalogue_has() -> None:
    found = {name: everything(name) for name in FEW}
    assert frozenset().union(*found.values()) == frozenset().union(*map(everything, STOCK))
    for name in FEW:
        assert found[name] - frozenset().union(*(found[n] for n in FEW if n != name)), name


def test_their_option_sets_have_all_that_any_has() -> None:
    chosen = [features(stock(n), list(stock(n).option_sets())[i]) for n, i in CASES]
    sets = [features(stock(n), options) for n in STOCK for options in stock(n).option_sets()]
    assert frozenset().union(*chosen) == frozenset().union(*sets)


def test_what_options_change_is_a_feature() -> None:
    sets = {
        str(options): features(stock("adamw"), options) for options in stock("adamw").option_sets()
    }
    plain, amsgrad = (sets[str({"amsgrad": on, "maximize": False})] for on in (False, True))
    assert {"element: max", "a state under a condition: True"} <= amsgrad - plain
    assert "element: a choice by an option that is False" in plain - amsgrad


def test_what_is_cheap_covers_and_what_is_spare_is_left_out() -> None:
    found = {"a": {1, 2}, "b": {2, 3}, "c": {1, 2, 3}, "d": {4}}
    assert cover(found) == ["c", "d"]
    assert cover(found, {"a": 1, "b": 1, "c": 9, "d": 1}) == ["a", "b", "d"]
