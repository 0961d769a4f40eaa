"""The functions that authors call, and what lowering makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from stepforge.operations import draws
from stepforge.operations.draws import Draw, Sign
from stepforge.operations.operation import (
    Notation,
    Operation,
    Reading,
    Spelling,
    always,
    both,
    everywhere,
    function,
    irrational,
    monotone,
    same,
    unknown,
    unrestricted,
)


def called(name: str, arguments: str = "x", **parts: Any) -> Operation:
    """A function of the rule language.

    Args:
        name: Its name.
        arguments: Names for its arguments, in the help texts.
        parts: The other parts of its row, as far as they are not the usual ones.
    """
    arity = len(arguments.split(", "))
    spoken = "_".join([name, *(f"{{{index}}}" for index in range(arity))])
    usual: dict[str, Any] = {
        "symbol": name, "arity": arity, "usage": f"{name}({arguments})", "syntax": "",
        "rounding": "exact", "ulps": 0, "notation": Notation("call"), "spoken": spoken, "sympy": "",
        "rational": irrational, "nonnegative": unknown, "restricted": unrestricted,
        "term": same(name), "python": {}, "ttir": {},
    }  # fmt: skip
    return Operation(**{**usual, **parts})


def _root(x: Fraction) -> Fraction | None:
    return x if x == 0 else None


def _sign(terms: Any, x: Any) -> Any:
    """0 for zeros, NaN for NaN: of an element by choices, of a scalar `(x > 0) - (x < 0)`."""
    zero, one = terms.number(0.0, x), terms.number(1.0, x)
    below, above = terms.apply("lt", x, zero), terms.apply("gt", x, zero)
    if terms.is_tensor:
        least = terms.apply("neg", one)
        negative = terms.apply("select", below, least, terms.apply("sub", x, x))
        return terms.apply("select", above, one, negative)
    positive, negative = (terms.apply("select", test, one, zero) for test in (above, below))
    difference = terms.apply("sub", positive, negative)
    return terms.apply("select", terms.apply("ne", x, x), x, difference)


def _spelled(name: str) -> Mapping[str, Spelling]:
    arrays = dict.fromkeys(("numpy", "triton", "torch"), function(f"{name}imum", 2))
    scalar = Spelling(f"scalar_{name}({{0}}, {{1}})", helper=f"scalar_{name}")
    in_c = {"c": f"real_{name}({{0}}, {{1}})", "c_scalar": f"host_{name}({{0}}, {{1}})"}
    return everywhere(scalar, **arrays, **{key: Spelling(text) for key, text in in_c.items()})


def _extreme(name: str, value: Callable[..., Any], **parts: Any) -> Operation:
    """Of two numbers; of zeros of any sign it is +0."""
    usual: dict[str, Any] = {
        "spellings": _spelled(name), "notation": Notation("call", name), "spoken": "{0}_or_{1}",
        "meaning": lambda sympy, a, b: getattr(sympy, name.capitalize())(a, b),
        "value": lambda mp, a, b: value(a, b), "rational": value,
        "enclose": monotone(lambda mp, a, b: value(a, b)),
        "term": lambda terms, a, b: terms.apply(
            "add", terms.apply(name, a, b), terms.number(0.0, a)
        ),
        "settles": True,
    }  # fmt: skip
    return called(name, "x, y", **{**usual, **parts})


def _loose(name: str, extreme: str, value: Callable[..., Any], nonnegative: Any) -> Operation:
    """An extreme that may return either of two zeros."""
    return _extreme(
        extreme, value, usage="", nonnegative=nonnegative, notation=Notation("call"), draws=(),
        spellings={**_spelled(extreme), "triton": function(name, 2)},
    )  # fmt: skip


def _either(signs: Any, a: Any, b: Any) -> bool:
    return bool(signs.nonnegative(a) or signs.nonnegative(b))


def _drawn_extreme(name: str) -> draws.Maker:
    def make(e: Any, depth: int, tensor: bool) -> Any:
        left, right = e.pair(depth, tensor)
        more = [e.number(0, tensor)] if e.chance(0.15) else []
        return e.call(name, left, right, *more)

    return make


def _drawn_clip(e: Any, depth: int, tensor: bool) -> Any:
    kinds = [tensor, tensor and e.chance(0.2), tensor and e.chance(0.2)]
    if tensor and e.chance(0.15):
        kinds = [False, True, e.chance(0.5)]
    return e.call("clip", *(e.number(e.split(depth), kind) for kind in kinds))


_CLIPPED = Spelling("minimum(maximum({0}, {1}), {2})", helper="minimum maximum")

ROWS: Mapping[str, Operation] = {
    "sqrt": called(
        "sqrt", rounding="nearest", notation=Notation("root"), fallible=True,
        spellings=everywhere(
            Spelling("math.sqrt({0})"), numpy=Spelling("np.sqrt({0})"),
            triton=Spelling("sqrt({0}, EXACT)", helper="sqrt"), torch=function("sqrt", 1),
            c=Spelling("real_sqrt({0})"), c_scalar=Spelling("sqrt({0})"),
        ),
        meaning=lambda sympy, x: sympy.sqrt(x), value=lambda mp, x: mp.sqrt(x), rational=_root,
        nonnegative=always, restricted=lambda signs, x: "argument of `sqrt`",
        enclose=lambda intervals, x: intervals.sqrt(x),
        python={"math.sqrt": Reading("host", "sqrt"), "numpy.sqrt": Reading("array", "sqrt")},
        ttir={"math.sqrt": "sqrt.approx.ftz", "tt.precise_sqrt": "sqrt"},
        draws=(
            Draw(Sign.NONNEGATIVE, draws.call("sqrt", Sign.NONNEGATIVE, wild=True), 2),
            Draw(Sign.POSITIVE, draws.call("sqrt", Sign.POSITIVE)),
        ),
    ),
    "abs": called(
        "abs", notation=Notation("bars"),
        spellings=everywhere(
            Spelling("abs({0})"), numpy=Spelling("np.abs({0})"), triton=Spelling("tl.abs({0})"),
            c=Spelling("real_abs({0})"), c_scalar=Spelling("fabs({0})"),
        ),
        meaning=lambda sympy, x: sympy.Abs(x), sympy="Abs", value=lambda mp, x: abs(x),
        rational=abs, nonnegative=always, enclose=lambda intervals, x: intervals.magnitude(x),
        python={"abs": Reading("any", "abs"), "numpy.abs": Reading("array", "abs")},
        ttir={"math.absf": "abs"},
        draws=(Draw(Sign.NONNEGATIVE, draws.call("abs"), 2),),
    ),
    "sign": called(
        "sign",
        spellings=everywhere(
            Spelling("scalar_sign({0})", helper="scalar_sign"), numpy=Spelling("np.sign({0})"),
            triton=function("sign", 1), torch=function("sign", 1),
            c=Spelling("real_sign({0})"), c_scalar=Spelling("host_sign({0})"),
        ),
        meaning=lambda sympy, x: sympy.sign(x), sympy="sign", value=lambda mp, x: mp.sign(x),
        nonnegative=lambda signs, x: signs.nonnegative(x),
        enclose=monotone(lambda mp, x: mp.sign(x)), term=_sign,
        python={"numpy.sign": Reading("array")},
        draws=(Draw(Sign.ANY, draws.call("sign")),),
    ),
    "min": _extreme(
        "min", min, nonnegative=both, sympy="Min", folds=True, loose="smaller",
        python={"numpy.minimum": Reading("array", "anymin")},
        ttir={"arith.minimumf": "min", "arith.minnumf": "minnum"},
        draws=(Draw(Sign.ANY, _drawn_extreme("min")),),
    ),
    "max": _extreme(
        "max", max, nonnegative=_either, sympy="Max", folds=True, loose="larger",
        python={"numpy.maximum": Reading("array", "anymax")},
        ttir={"arith.maximumf": "max", "arith.maxnumf": "maxnum"},
        draws=(
            Draw(Sign.ANY, _drawn_extreme("max")),
            Draw(Sign.NONNEGATIVE, draws.call_with("max", Sign.NONNEGATIVE)),
            Draw(Sign.POSITIVE, draws.call_with("max", Sign.POSITIVE)),
        ),
    ),
    # Of zeros they may return either: what an extreme of extremes needs, whose sign of zero comes
    # last. Compilers err where it comes twice.
    "smaller": _loose("smaller", "min", min, both),
    "larger": _loose("larger", "max", max, _either),
    "clip": called(
        "clip", "x, low, high",
        spellings=everywhere(
            Spelling(
                "scalar_min(scalar_max({0}, {1}), {2})", helper="scalar_min scalar_max"
            ),
            numpy=_CLIPPED, torch=_CLIPPED,
            triton=Spelling("minimum(larger({0}, {1}), {2})", helper="minimum larger"),
            c=Spelling("real_min(real_max({0}, {1}), {2})"),
            c_scalar=Spelling("host_min(host_max({0}, {1}), {2})"),
        ),
        meaning=lambda sympy, x, low, high: sympy.Min(sympy.Max(x, low), high),
        value=lambda mp, x, low, high: min(max(x, low), high),
        nonnegative=lambda signs, x, low, high: _either(signs, x, low) and signs.nonnegative(high),
        enclose=monotone(lambda mp, x, low, high: min(max(x, low), high)),
        term=lambda terms, x, low, high: terms.operation(
            "min", terms.operation("max", x, low), high
        ),
        settles=True,
        draws=(
            Draw(Sign.ANY, _drawn_clip),
            Draw(
                Sign.NONNEGATIVE,
                draws.call_with("clip", Sign.NONNEGATIVE, Sign.NONNEGATIVE),
            ),
        ),
    ),
    # Over the reals it is its argument. Scalars of the host have no format to be stored in.
    "stored": called(
        "stored", rounding="stored", tensor=True,
        spellings=everywhere(
            Spelling("({0})"), numpy=Spelling("stored({0}, dtype)", helper="stored"),
            triton=Spelling("stored({0}, p_ptr)", helper="stored"),
            c=Spelling("real_stored({0})"),
        ),
        meaning=lambda sympy, x: x, value=lambda mp, x: x,
        nonnegative=lambda signs, x: signs.nonnegative(x), enclose=lambda intervals, x: x,
        term=lambda terms, x: terms.stored(x),
        draws=(
            Draw(Sign.ANY, draws.call("stored"), scalars=False),
            Draw(Sign.NONNEGATIVE, draws.call("stored", Sign.NONNEGATIVE), scalars=False),
        ),
    ),
}  # fmt: skip
