"""Two readings of the same text, which share no code, say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from support import STOCK, stock

from stepforge.fuzz.specs import draft
from stepforge.language import expression, kinds
from stepforge.language.diagnostics import SpecError
from stepforge.language.literals import literal
from stepforge.language.reader import loads
from stepforge.language.spec import Interval, Spec
from stepforge.lowering.lower import tensors_of
from stepforge.operations.powers import MAX_PRODUCT
from stepforge.verify.reading import agreement, reader, tree

RANDOM = 150


def specs() -> Iterator[Spec]:
    yield from map(stock, STOCK)
    rng = np.random.default_rng(7)
    for number in range(RANDOM):
        try:
            yield loads(draft(rng, f"random_{number}").text())[0]
        except SpecError:
            continue


def same(ours: tree.Expression, theirs: expression.Expression) -> bool:
    match ours, theirs:
        case tree.Number(), expression.Number():
            return ours.value == theirs.value
        case tree.Name(), expression.Name():
            return ours.id == theirs.id
        case tree.Apply(), expression.Apply():
            pairs = zip(ours.args, theirs.args, strict=True)
            return ours.op == theirs.op and all(same(*pair) for pair in pairs)
    return False


def exactly(e: expression.Expression) -> Fraction | None:
    try:
        return literal(e)
    except ArithmeticError:
        return None


def powers(ours: tree.Expression, theirs: expression.Expression) -> Iterator[tuple[object, object]]:
    if isinstance(ours, tree.Apply) and isinstance(theirs, expression.Apply):
        if ours.op == "pow":
            yield tree.constant(ours.args[1]), exactly(theirs.args[1])
        for pair in zip(ours.args, theirs.args, strict=True):
            yield from powers(*pair)


def test_both_read_the_same() -> None:
    count = found = 0
    for spec in specs():
        text = reader.of(spec)
        assert agreement.disagreement(spec) == ""
        walked = list(kinds.walk(spec))
        for ours, (theirs, known) in zip(tree.everything(text.rule), walked, strict=True):
            assert ours.before == {n for n, kind in known.items() if kind is kinds.Kind.TENSOR}
            if isinstance(ours, tree.Assign) and isinstance(theirs, expression.Assign):
                assert ours.name == theirs.name
                assert reader.place(spec, ours) == spec.source.quoted(theirs.name_span.line)
                pair = ours.value, theirs.value
            else:
                assert isinstance(ours, tree.If)
                assert isinstance(theirs, expression.If)
                pair = ours.condition, theirs.condition
            assert same(*pair)
            for own, other in powers(*pair):
                assert own == other
                found += 1
        for options in spec.option_sets():
            read = [(t.name, t.loaded, t.stored) for t in text.tensors(options)]
            assert read == [(t.name, t.loaded, t.stored) for t in tensors_of(spec, options)]
        count += 1
    assert count > RANDOM
    assert found > 50
    assert tree.MOST_FACTORS == MAX_PRODUCT


HEAD = 'name = "x"\ntitle = "X"\nsummary = "x"\nreference = "x"\n'


@pytest.mark.parametrize(
    ("exponent", "value"),
    {
        "-2": -2, "0.5": Fraction(1, 2), "-(1/2)": Fraction(-1, 2), "1_6": 16, "2e0": 2,
        "(1 + 1)*3 - 2**2": 2, "-1/4": Fraction(-1, 4), "max(1, min(7, 3), 2)": 3,
        "abs(-3)": 3, "floor(-5/2)": -3, "-7 % 3": 2, "2**-1": Fraction(1, 2),
        "0.1": Fraction(1, 10),
    }.items(),
)  # fmt: skip
def test_a_constant_is_what_mathematics_says(exponent: str, value: Fraction) -> None:
    text = reader.read(f'{HEAD}[rule]\nupdate = """p = p**({exponent})"""')
    (statement,) = text.rule
    assert isinstance(statement, tree.Assign)
    assert isinstance(statement.value, tree.Apply)
    assert tree.constant(statement.value.args[1]) == value


def test_a_fault_of_the_reader_is_noticed() -> None:
    spec = stock("adamw")
    first, *others = spec.hyperparameters
    states = tuple(replace(s, when=None) for s in spec.states)
    for wrong in (
        replace(spec, hyperparameters=tuple(others)),
        replace(spec, hyperparameters=(replace(first, default=2e-3), *others)),
        replace(spec, hyperparameters=(replace(first, domain=Interval(0.0)), *others)),
        replace(spec, options=spec.options[:1]),
        replace(spec, states=states),
    ):
        assert agreement.disagreement(wrong)
