"""Inputs stay inside their domains and reach the corners."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from catalogue import FEW
from support import ROOT, stock

from stepforge.language.reader import loads
from stepforge.language.spec import Interval
from stepforge.verify.cases import inputs
from stepforge.verify.rungs import compiled, proof
from stepforge.verify.rungs.registry import assumptions


@pytest.mark.parametrize("name", FEW)
def test_hyperparameters_are_inside_their_domains_and_not_at_their_defaults(name: str) -> None:
    spec, rng = stock(name), np.random.default_rng(1)
    draws = [inputs.numbers(spec, rng) for _ in range(200)]
    for h in spec.hyperparameters:
        values = [draw[h.name] for draw in draws]
        assert all(value in h.domain for value in values)
        assert len({v for v in values if v != h.default}) > 100


def test_a_usual_range_is_what_is_drawn_from_and_what_bounds_hold_in() -> None:
    text = stock("rmsprop").source.text
    for usual in ("0 <= alpha < 1", "0.25 <= alpha <= 0.5"):
        spec = loads(text.replace("0 <= alpha < 1", usual).replace("0.99", "0.375"))[0]
        rng = np.random.default_rng(1)
        (alpha,) = (h for h in spec.hyperparameters if h.name == "alpha")
        assert (alpha.domain.low, alpha.domain.high) == (0, np.inf)
        draws = [inputs.numbers(spec, rng)["alpha"] for _ in range(50)]
        assert all(value in alpha.usual for value in draws)
        assert proof.domains(spec)["alpha"] == alpha.domain
        assert proof.usual(spec)["alpha"] == alpha.usual
        said = [text for text in assumptions(alpha.usual_text) if usual in text]
        assert [re.findall(r"R\d+", text.partition(":")[0]) for text in said] == [
            ["R0"], ["R1", "R2", "R6", "R8", "R11"], ["R9"],
        ]  # fmt: skip
    assert not any("usual" in text for text in assumptions(""))


def test_the_closed_end_of_a_domain_is_drawn_and_the_open_one_never() -> None:
    spec, rng = stock("adamw"), np.random.default_rng(2)
    draws = [inputs.numbers(spec, rng)["beta1"] for _ in range(500)]
    assert 0.0 in draws
    assert max(draws) < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FEW)
def test_special_values_reach_every_tensor_one_at_a_time(name: str, dtype: str) -> None:
    spec = stock(name)
    options = list(spec.option_sets())[-1]
    tensors = inputs.specials(spec, options, dtype, np.random.default_rng(3))
    bad = {key: ~np.isfinite(values) for key, values in tensors.items()}
    for key, values in tensors.items():
        assert np.isnan(values).any()
        assert np.isposinf(values).any()
        assert (values == 0).any()
        assert (np.abs(values[values != 0]) < np.finfo(dtype).tiny).any(), "subnormal"
        assert (np.abs(values) > 9e18).any()
        others = np.zeros_like(bad[key])
        for other, mask in bad.items():
            others |= mask if other != key else False
        assert not (bad[key] & others).any(), "two special values in one element"
    quiet = tensors["g"] == 0
    for key in tensors:
        if key not in ("p", "g"):
            assert (quiet & (tensors[key] == 0)).any()
            assert (quiet & (tensors[key] != 0)).any()


def test_special_values_come_together_and_hyperparameters_are_at_their_edges() -> None:
    spec, rng = stock("adam"), np.random.default_rng(3)
    tensors = inputs.mixed(spec, next(spec.option_sets()), "float32", rng)
    for one, other in itertools.combinations(tensors, 2):
        assert (~np.isfinite(tensors[one]) & ~np.isfinite(tensors[other])).any()
        assert (np.isfinite(tensors[one]) & ~np.isfinite(tensors[other])).any()
    draws = [inputs.edges(spec, rng) for _ in range(100)]
    assert any(all(d[n] == 0 for n in ("lr", "beta1", "eps", "weight_decay")) for d in draws)
    assert any(d["weight_decay"] == 0 and d["beta1"] > 0 for d in draws)


def test_zeros_have_all_signs_together() -> None:
    spec = stock("adamw")
    tensors = inputs.specials(spec, next(spec.option_sets()), "float32", np.random.default_rng(3))
    zero = np.logical_and.reduce([values == 0 for values in tensors.values()])
    signs = {tuple(np.signbit(tensors[k][i]) for k in "pgmv") for i in np.flatnonzero(zero)}
    assert signs == {(*s, False) for s in itertools.product((False, True), repeat=3)}


@pytest.mark.parametrize("name", FEW)
def test_every_element_of_a_thread_meets_every_special_value(name: str) -> None:
    """Threads hold four elements in a row, and those 512 further on."""
    spec = stock(name)
    block = compiled.load(spec, ROOT / "generated").block
    for options in spec.option_sets():
        tensors = inputs.specials(spec, options, "float32", np.random.default_rng(3))
        count = len(tensors["p"])
        tensors["p"] = np.arange(count)
        place = np.arange(inputs.REPEATED * block)
        held = place % 4 + 4 * (place % block // 512)
        met = set(zip(inputs.everywhere(tensors, block)["p"], held, strict=True))
        assert met == set(itertools.product(range(count), range(block // 128)))


@pytest.mark.parametrize(
    "domain",
    [
        Interval(),
        Interval(0, low_open=False),
        Interval(0),
        Interval(1, 2, False, False),
        Interval(high=-1),
        Interval(-3),
    ],
)
def test_values_are_moved_into_a_domain(domain: Interval) -> None:
    values = inputs.log_uniform(1000, "float64", domain, np.random.default_rng(4))
    assert all(float(value) in domain for value in values)


def test_magnitudes_span_many_decades_and_both_signs() -> None:
    values = inputs.log_uniform(5000, "float32", Interval(), np.random.default_rng(5))
    nonzero = np.abs(values[values != 0])
    assert math.log10(float(nonzero.max() / nonzero.min())) > 5
    assert (values > 0).any()
    assert (values < 0).any()
    assert (values == 0).any()
