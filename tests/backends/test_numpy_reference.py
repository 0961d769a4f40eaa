"""The generated references against the rule's own text, bit by bit.

The evaluator here knows nothing of the generator: it runs the text of `[rule]` as Python, with
float32 arrays for tensors and Python's floats for hyperparameters. What it computes, operation by
operation and in the order written, is what the generated file has to compute. No library rounds
`exp` and its kin correctly, so these alone are taken from the file; other tests are about them.
"""

from __future__ import annotations

import ast
import itertools
import math
import tomllib
from collections.abc import Callable
from typing import Any

import catalogue
import ml_dtypes
import numpy as np
import pytest
from support import ROOT, STOCK, module, numpy_of, stock

from stepforge.language.reader import loads

STEPS = 4
SPECIAL = np.float32(
    [0.0, -0.0, 1e-45, -1e-45, 1e-40, 3e-39, 1e-30, 1e30, -1e38, 3e38, np.inf, -np.inf, np.nan]
)  # fmt: skip


class Tensor:
    """A float array whose `**` is repeated multiplication and 0.5 a square root, as documented."""

    __array_priority__ = 1000

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    @staticmethod
    def raw(x: Any) -> Any:
        return x.data if isinstance(x, Tensor) else x

    def __add__(self, other: Any) -> Tensor:
        return Tensor(self.data + self.raw(other))

    def __radd__(self, other: Any) -> Tensor:
        return Tensor(other + self.data)

    def __sub__(self, other: Any) -> Tensor:
        return Tensor(self.data - self.raw(other))

    def __rsub__(self, other: Any) -> Tensor:
        return Tensor(other - self.data)

    def __mul__(self, other: Any) -> Tensor:
        return Tensor(self.data * self.raw(other))

    def __rmul__(self, other: Any) -> Tensor:
        return Tensor(other * self.data)

    def __truediv__(self, other: Any) -> Tensor:
        return Tensor(self.data / self.raw(other))

    def __rtruediv__(self, other: Any) -> Tensor:
        return Tensor(other / self.data)

    def __neg__(self) -> Tensor:
        return Tensor(-self.data)

    def __lt__(self, other: Any) -> Any:
        return self.data < self.raw(other)

    def __gt__(self, other: Any) -> Any:
        return self.data > self.raw(other)

    def __ge__(self, other: Any) -> Any:
        return self.data >= self.raw(other)

    def __ne__(self, other: object) -> Any:
        return self.data != self.raw(other)

    def __pow__(self, exponent: float) -> Tensor:
        if exponent == 0.5:
            return Tensor(np.sqrt(self.data))
        if exponent == 0.25:
            return Tensor(np.sqrt(np.sqrt(self.data)))
        assert exponent == int(exponent) > 0
        result = self.data
        for _ in range(int(exponent) - 1):
            result = result * self.data
        return Tensor(result)


def _extremum(function: Any, *args: Any) -> Any:
    if not any(isinstance(a, Tensor) for a in args):
        return {np.maximum: max, np.minimum: min}[function](*args)
    result = args[0]
    for other in args[1:]:
        a, b = (np.asarray(Tensor.raw(x), np.float32) for x in (result, other))
        result = Tensor(function(a, b) + np.float32(0))
    return result


FUNCTIONS = {
    "max": lambda *args: _extremum(np.maximum, *args),
    "min": lambda *args: _extremum(np.minimum, *args),
    "abs": lambda x: Tensor(np.abs(x.data)) if isinstance(x, Tensor) else abs(x),
    "sqrt": lambda x: Tensor(np.sqrt(x.data)) if isinstance(x, Tensor) else math.sqrt(x),
    "sign": lambda x: Tensor(np.sign(x.data)),
    "stored": lambda x: x,  # of float32 and float64
    "clip": lambda x, low, high: _extremum(
        np.minimum, _extremum(np.maximum, x, Tensor.raw(low)), Tensor.raw(high)
    ),
    "__builtins__": {},
}
ELEMENTARY = ("exp", "tanh", "cbrt", "atan2")


def _elementary(module: Any, name: str) -> Callable[..., Any]:
    def function(*args: Any) -> Any:
        if not all(isinstance(x, Tensor) for x in args):
            return None
        return Tensor(getattr(module, name)(*(x.data for x in args)))

    return function


def _power(module: Any) -> Callable[[Any, float], Any]:
    def power(base: Any, exponent: float) -> Any:
        """Of an exponent that is no literal, so nothing is known of it."""
        if not isinstance(base, Tensor):
            return base**exponent
        return Tensor(module.pow(base.data, np.full_like(base.data, exponent)))

    return power


def _choose(condition: Any, first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Of elements both arms are computed, of numbers only one is."""
    if not isinstance(condition, np.ndarray):
        return first() if condition else second()
    arms = [np.asarray(Tensor.raw(arm()), np.float32) for arm in (first, second)]
    return Tensor(np.where(condition, *arms))


class _Elementwise(ast.NodeTransformer):
    """What Python's own syntax cannot do with arrays, as calls of functions."""

    def __init__(self, tensors: set[str]) -> None:
        self.tensors = tensors

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        arms = [ast.unparse(self.visit(arm)) for arm in (node.body, node.orelse)]
        condition = ast.unparse(self.visit(node.test))
        return ast.parse(f"choose({condition}, lambda: {arms[0]}, lambda: {arms[1]})").body[0].value  # type: ignore[attr-defined,no-any-return]

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Pow) and not isinstance(node.right, ast.Constant):
            return ast.Call(ast.Name("power", ast.Load()), [node.left, node.right], [])
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        self.generic_visit(node)
        (target,) = node.targets
        if isinstance(target, ast.Name) and target.id in self.tensors:
            node.value = ast.Call(ast.Name("tensor", ast.Load()), [node.value], [])
        return node


def _tensors(tree: ast.AST, known: set[str]) -> set[str]:
    """The names to which some statement assigns what depends on tensors."""
    found = set(known)
    while True:
        new = {
            node.targets[0].id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)} & found
        }
        if new <= found:
            return found
        found |= new


def raw_spec(name: str) -> dict[str, Any]:
    return tomllib.loads(stock(name).source.text)  # of a pipeline, written out


def option_sets(spec: dict[str, Any]) -> list[dict[str, bool]]:
    """Every set of options whose `when` conditions hold."""
    options = spec.get("options", {})
    sets = []
    for values in itertools.product([False, True], repeat=len(options)):
        chosen = dict(zip(options, values, strict=True))
        if all(
            not chosen[o] or eval(entry.get("when", "True"), dict(chosen))
            for o, entry in options.items()
        ):
            sets.append(chosen)
    return sets


def active(spec: dict[str, Any], options: dict[str, bool]) -> dict[str, dict[str, Any]]:
    states = spec.get("state", {})
    return {s: e for s, e in states.items() if eval(e.get("when", "True"), dict(options))}


def evaluate(
    spec: dict[str, Any],
    options: dict[str, bool],
    values: dict[str, Any],
    p: np.ndarray,
    g: np.ndarray,
    state: dict[str, Any],
    t: int,
) -> tuple[np.ndarray, dict[str, Any]]:
    """One step by the text of the rule; `values` are hyperparameters and inputs."""
    space: dict[str, Any] = {**FUNCTIONS, **options}
    space |= {k: Tensor(v) if isinstance(v, np.ndarray) else float(v) for k, v in values.items()}
    space |= {"t": float(t), "p": Tensor(p.copy()), "g": Tensor(g.copy())}
    space |= {k: Tensor(v.copy()) if isinstance(v, np.ndarray) else v for k, v in state.items()}
    made = generated(spec["name"])
    space |= {name: _elementary(made, name) for name in ELEMENTARY}
    space |= {"choose": _choose, "power": _power(made)}
    space["tensor"] = lambda x: (
        x if isinstance(x, Tensor) else Tensor(np.full(p.shape, x, np.float32))
    )
    tree = ast.parse(spec["rule"]["update"])
    given = {**state, **values}
    first = {"p", "g", *(k for k, v in given.items() if isinstance(v, np.ndarray))}
    tree = ast.fix_missing_locations(_Elementwise(_tensors(tree, first)).visit(tree))
    exec(compile(tree, "<rule>", "exec"), space)
    return space["p"].data, {name: Tensor.raw(space[name]) for name in state}


def first_state(
    spec: dict[str, Any], options: dict[str, bool], values: dict[str, Any], like: np.ndarray
) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for name, entry in active(spec, options).items():
        first = eval(str(entry["init"]), {**values, "p": like})
        state[name] = (
            float(first) if entry.get("scalar") else np.full(like.shape, first, np.float32)
        )
    return state


def same(a: Any, b: Any) -> bool:
    """Equal in every bit; any NaN equals any NaN."""
    a, b = np.asarray(a), np.asarray(b)
    nan = np.isnan(a) & np.isnan(b)
    bits = a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}")
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.all(nan | bits))


def generated(name: str) -> Any:
    return module((ROOT / "generated" / "numpy" / f"{name}.py").read_text("utf-8"), name)


def hyperparameters(spec: dict[str, Any], seed: int) -> dict[str, float]:
    """The defaults first, then values inside of the domains."""
    entries = spec["hyperparameters"]
    if seed == 0:
        return {name: float(entry["default"]) for name, entry in entries.items()}
    generator = np.random.default_rng(seed)
    together = spec.get("domains", {}).get("together", [])
    while True:
        values = {name: float(generator.uniform(0.01, 0.99)) for name in entries}
        for name, entry in entries.items():
            while not eval(entry.get("domain", "True"), {name: values[name]}):
                values[name] += 0.25 if values[name] > 0 else -0.25
        if all(eval(condition, dict(values)) for condition in together):
            return values


def inputs(seed: int, size: int = 96) -> np.ndarray:
    """Ordinary values of many magnitudes, then the special ones."""
    generator = np.random.default_rng(seed)
    ordinary = generator.standard_normal(size) * 10.0 ** generator.integers(-12, 6, size)
    special = generator.choice(SPECIAL, size // 2)
    return np.concatenate([ordinary.astype(np.float32), special])


def asked(name: str, like: np.ndarray) -> dict[str, Any]:
    """The inputs of a rule: tensors that are the opposite of another one, numbers that are 0.5."""
    entries = raw_spec(name).get("inputs", {})
    return {k: 0.5 if entry.get("scalar") else -like for k, entry in entries.items()}


def same_as(name: str, options: dict[str, bool]) -> int:
    """The place of an option set among those of this file, whose order is another one."""
    return option_sets(raw_spec(name)).index(options)


CASES = [(n, same_as(n, list(stock(n).option_sets())[i])) for n, i in catalogue.CASES]
EVERY = [(name, i) for name in STOCK for i in sorted({0, len(option_sets(raw_spec(name))) - 1})]


@pytest.mark.parametrize(
    ("name", "case", "seed"),
    [*((*case, seed) for case in CASES for seed in (0, 2)), *((*case, 1) for case in EVERY)],
)
def test_the_reference_runs_the_rule_as_written(name: str, case: int, seed: int) -> None:
    spec = raw_spec(name)
    options, values = option_sets(spec)[case], hyperparameters(spec, seed)
    step, init = generated(name).step, generated(name).init
    p = inputs(10 * seed)
    expected_p, expected = p.copy(), first_state(spec, options, values, p)
    chosen = {**values, **options}
    state = init(p, **{k: chosen[k] for k in init.__kwdefaults__ or ()})
    with np.errstate(all="ignore"):
        for t in range(1, STEPS + 1):
            g = inputs(1000 * seed + t)
            given = {**values, **asked(name, inputs(1000 * seed + 500 + t))}
            expected_p, expected = evaluate(spec, options, given, expected_p, g, expected, t)
            p, state = step(p, g, state, t, **given, **options)
            assert set(state) == set(expected)
            for key, value in {**state, "p": p}.items():
                assert same(value, {**expected, "p": expected_p}[key]), f"{key} at step {t}"


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_step_is_pure(name: str, case: int) -> None:
    spec = raw_spec(name)
    options, values = option_sets(spec)[case], hyperparameters(spec, 1)
    p, g = inputs(1), inputs(2)
    state, given = first_state(spec, options, values, p), asked(name, inputs(3))
    before = {k: np.array(v, copy=True) for k, v in {**state, **given, "p": p, "g": g}.items()}
    names = set(state)
    with np.errstate(all="ignore"):
        new_p, new = generated(name).step(p, g, state, 1, **given, **values, **options)
    assert set(state) == names
    for key, value in {**state, **given, "p": p, "g": g}.items():
        assert same(value, before[key]), f"{key} was changed"
    arrays = [a for a in (p, g, *state.values(), *given.values()) if isinstance(a, np.ndarray)]
    results = [a for a in (new_p, *new.values()) if isinstance(a, np.ndarray)]
    for result in results:
        assert not any(np.shares_memory(result, array) for array in arrays)
    for first, second in itertools.combinations(results, 2):
        assert not np.shares_memory(first, second)


@pytest.mark.parametrize("name", catalogue.FEW)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sixteen_bit_parameters_are_computed_in_float32(name: str, dtype: Any) -> None:
    reference = generated(name)
    generator = np.random.default_rng(3)
    p, g = (generator.standard_normal(200).astype(dtype) for _ in range(2))
    state = reference.init(p)
    wide, wide_state = p.astype(np.float32), reference.init(p.astype(np.float32))
    states = raw_spec(name)["state"] if state else {}
    for key, value in state.items():
        wanted = dtype if states[key].get("dtype") == "p" else np.float32
        assert isinstance(value, float) or value.dtype == wanted, key
    if any(entry.get("dtype") == "p" for entry in states.values()):
        return  # `test_stored` has what such a rule computes
    for t in range(1, STEPS):
        new_p, state = reference.step(p, g, state, t, **asked(name, g))
        wide_g = g.astype(np.float32)
        wide_p, wide_state = reference.step(wide, wide_g, wide_state, t, **asked(name, wide_g))
        assert new_p.dtype == dtype
        assert same(new_p, wide_p.astype(dtype))
        for key, value in state.items():
            assert same(value, wide_state[key]), key
        p, wide = new_p, new_p.astype(np.float32)


@pytest.mark.parametrize("name", catalogue.FEW)
def test_sixteen_bit_states_are_rounded_once(name: str) -> None:
    reference = generated(name)
    p = np.linspace(-1, 1, 50).astype(np.float32)
    g = np.linspace(2, -3, 50).astype(np.float32)
    narrow = {
        k: v if isinstance(v, float) else v.astype(np.float16) for k, v in reference.init(p).items()
    }
    _, wide = reference.step(p, g, reference.init(p), 1, **asked(name, g))
    _, state = reference.step(p, g, narrow, 1, **asked(name, g))
    for key, value in state.items():
        assert same(value, wide[key] if isinstance(value, float) else wide[key].astype(np.float16))


@pytest.mark.parametrize("name", catalogue.FEW)
def test_float64_parameters_are_computed_in_float64(name: str) -> None:
    reference = generated(name)
    p, g = np.linspace(-1, 1, 9), np.linspace(2, -3, 9)
    new_p, state = p, reference.init(p)
    for t in (1, 2):  # some wait a step
        new_p, state = reference.step(new_p, g, state, t, **asked(name, g))
    assert new_p.dtype == np.float64
    assert all(isinstance(s, float) or s.dtype == np.float64 for s in state.values())
    assert not np.array_equal(new_p, new_p.astype(np.float32))


@pytest.mark.parametrize("name", catalogue.FEW)
def test_every_shape_is_allowed(name: str) -> None:
    reference = generated(name)
    for shape in [(), (0,), (1,), (2, 3), (2, 0, 3)]:
        p, g = np.ones(shape, np.float32), np.ones(shape, np.float32)
        new_p, state = reference.step(p, g, reference.init(p), 1, **asked(name, g))
        assert new_p.shape == shape
        assert all(isinstance(s, float) or s.shape == shape for s in state.values())


@pytest.mark.parametrize("name", catalogue.FEW)
@pytest.mark.parametrize("shape", [(4,), (1,), (), (3, 1), (2, 3)])
def test_a_gradient_of_another_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    reference, p = generated(name), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="g has shape"):
        reference.step(p, np.ones(shape, np.float32), reference.init(p), 1, **asked(name, p))


@pytest.mark.parametrize("name", [n for n in STOCK if raw_spec(n).get("inputs")])
@pytest.mark.parametrize("shape", [(4,), (1,), (), (3, 1), (2, 3)])
def test_an_input_of_another_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    reference, p = generated(name), np.ones(3, np.float32)
    for key, value in asked(name, p).items():
        if isinstance(value, np.ndarray):
            given = {**asked(name, p), key: np.ones(shape, np.float32)}
            with pytest.raises(ValueError, match=f"{key} has shape"):
                reference.step(p, p, reference.init(p), 1, **given)


@pytest.mark.parametrize("name", catalogue.FEW)
def test_a_state_of_another_shape_is_refused(name: str) -> None:
    reference, p = generated(name), np.ones(3, np.float32)
    for key, value in reference.init(p).items():
        if isinstance(value, float):
            continue
        for shape in [(), (1,), (4,)]:
            broken = {**reference.init(p), key: np.ones(shape, np.float32)}
            with pytest.raises(ValueError, match=f"{key} has shape"):
                reference.step(p, p, broken, 1, **asked(name, p))


@pytest.mark.parametrize("name", catalogue.FEW)
@pytest.mark.parametrize("t", [0, -1, 0.5, 1.5, math.nan])
def test_a_step_number_that_does_not_count_from_one_is_refused(name: str, t: float) -> None:
    reference, p = generated(name), np.ones(3, np.float32)
    with pytest.raises(ValueError):  # noqa: PT011
        reference.step(p, p, reference.init(p), t, **asked(name, p))


def test_an_option_without_what_it_needs_is_refused() -> None:
    reference, p = generated("sgd"), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="nesterov needs use_momentum"):
        reference.step(p, p, {}, 1, nesterov=True)


@pytest.mark.parametrize("name", catalogue.FEW)
def test_late_steps_need_no_float32_counter(name: str) -> None:
    reference, p = generated(name), np.ones(3, np.float32)
    p, state = reference.step(p, p, reference.init(p), 1, **asked(name, p))
    far, _ = reference.step(p, p, state, 2**24 + 1, **asked(name, p))
    farther, _ = reference.step(p, p, state, 10**15, **asked(name, p))
    assert np.all(np.isfinite(far))
    assert np.all(np.isfinite(farther))


@pytest.mark.parametrize(
    ("p", "keywords", "error"),
    [
        (np.arange(3), {}, TypeError),
        (np.ones(3, np.complex64), {}, TypeError),
        (np.ones(3), {"beta1": 1.0}, ValueError),
        (np.ones(3), {"lr": -1e-3}, ValueError),
        (np.ones(3), {"lr": float("nan")}, ValueError),
    ],
)
def test_what_is_outside_of_a_domain_is_refused(
    p: np.ndarray[Any, Any], keywords: dict[str, float], error: type[Exception]
) -> None:
    adamw = numpy_of(stock("adamw"))
    with pytest.raises(error):
        adamw.step(p, np.ones(3), adamw.init(np.ones(3)), 1, **keywords)


CONDITION = """
name = "condition"
title = "Condition"
summary = "S."
reference = "R"
[hyperparameters]
low = { default = 1, domain = "low >= 0", doc = "L." }
high = { default = 2, domain = "high < 8", doc = "H." }
[rule]
update = '''
rate = 0.5
if sign(high - low) > 0:
    rate = 0.25
p = p - rate*g
'''
"""


def test_what_only_a_condition_reads_is_checked_and_computed() -> None:
    step = numpy_of(loads(CONDITION)[0]).step
    p = np.ones(2, np.float32)
    assert step(p, p, {}, 1)[0].tolist() == [0.75, 0.75]
    assert step(p, p, {}, 1, low=3)[0].tolist() == [0.5, 0.5]
    for wrong in ({"low": -1}, {"high": 8}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            step(p, p, {}, 1, **wrong)
