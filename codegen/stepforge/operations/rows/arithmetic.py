"""Arithmetic: sums, products, quotients, powers, and what lowering makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepforge.operations import draws
from stepforge.operations.draws import Draw, Sign
from stepforge.operations.operation import (
    ATOM,
    POWER,
    PRODUCT,
    SUM,
    UNARY,
    Notation,
    Operation,
    Reading,
    Spelling,
    always,
    both,
    everywhere,
    function,
    infix,
    irrational,
    same,
    unknown,
    unrestricted,
)
from stepforge.operations.powers import power, rational_power

_EXPONENTS = (
    "2", "2", "2", "3", "3", "4", "5", "7", "16", "1", "0", "-1", "-1", "-2", "-3", "0.5", "0.5",
    "0.5", "-0.5", "-0.5", "(1/2)", "2.0", "(1 + 1)",
)  # fmt: skip
"""Of tensors in random specs."""


def _quotient(sign: Sign) -> draws.Maker:
    def make(e: Any, depth: int, tensor: bool) -> Any:
        left_is = not tensor or e.chance(0.7)
        right_is = tensor if not left_is else tensor and e.chance(0.6)
        left = e.number(e.split(depth), tensor and left_is, sign)
        right = e.operand(e.split(depth), right_is, Sign.POSITIVE)
        return e.infix(left, "/", right, PRODUCT)

    return make


def _shifted(e: Any, depth: int, tensor: bool) -> Any:
    value = e.number(depth - 1, tensor, Sign.NONNEGATIVE)
    return e.infix(value, "+", e.leaf(False, Sign.POSITIVE), SUM)


def _correction(e: Any, depth: int, tensor: bool) -> Any:
    """`1 - beta**t`, or `1 - beta`."""
    decays = [v.name for v in e.scope.values() if v.below_one]
    if not decays:
        return e.leaf(False, Sign.POSITIVE)
    decay = e.text(e.one(decays))
    power = e.power(decay, e.one(("t", "t", "2", "(t + 1)", "(2*t)")))
    return e.infix(e.text("1"), "-", power if e.chance(0.7) else decay, SUM)


def _power(e: Any, depth: int, tensor: bool) -> Any:
    exponent = e.one(_EXPONENTS)
    needed = Sign.NONNEGATIVE if "0.5" in exponent or "/" in exponent else Sign.ANY
    needed = Sign.POSITIVE if exponent.startswith("-") else needed
    base = e.operand(depth - 1, tensor, needed)
    if not e.has_name(base):  # a tower of literals may be too high
        base = e.leaf(False, Sign.POSITIVE)
    return e.power(base, exponent)


def _real_tensor_power(e: Any, depth: int, tensor: bool) -> Any:
    """A power with an exponent that is no small integer, of what is not negative."""
    base = e.operand(e.split(depth), tensor, Sign.POSITIVE)
    if not e.has_name(base):
        base = e.leaf(tensor, Sign.POSITIVE)
    if e.chance(0.5):
        return e.power(base, e.one(("0.25", "-0.25", "0.3", "1.5", "(1/3)", "-0.75", "20")))
    return e.power(base, e.within(e.number(e.split(depth), False), UNARY))


def _even_power(e: Any, depth: int, tensor: bool) -> Any:
    base = e.number(depth - 1, tensor)
    if base.level == ATOM and e.chance(0.2):
        return e.infix(base, "*", base, PRODUCT)
    return e.power(base, e.one(("2", "2", "4")))


def _root(e: Any, depth: int, tensor: bool) -> Any:
    return e.power(e.operand(depth - 1, tensor, Sign.NONNEGATIVE), "0.5")


def _host_power(e: Any, depth: int, tensor: bool) -> Any:
    """A power of scalars with any exponent."""
    base = e.operand(e.split(depth), False, Sign.POSITIVE)
    exponent = e.number(min(1, e.split(depth)), False)
    if not e.has_name(base):
        base, exponent = (e.leaf(False, sign) for sign in (Sign.POSITIVE, Sign.ANY))
    return e.power(base, e.within(exponent, UNARY))


def _drawn_remainder(e: Any, depth: int, tensor: bool) -> Any:
    left = e.text("t") if e.chance(0.7) else e.number(depth - 1, False, Sign.NONNEGATIVE)
    return e.infix(left, "%", e.text(e.one(("2", "3", "5", "10"))), PRODUCT)


def _remainder(intervals: Any, a: Any, b: Any) -> Any:
    """Between steps of the quotient it rises like `a`; elsewhere it is below the divisor."""
    mp = intervals.mp
    if b.value == 0:
        raise intervals.Undefined
    exact = a.value - b.value * mp.floor(a.value / b.value)
    if b.low == b.high and mp.floor(a.low / b.low) == mp.floor(a.high / b.low):
        shift = b.low * mp.floor(a.low / b.low)
        return intervals.Enclosure(exact, a.low - shift, a.high - shift)
    return intervals.Enclosure(exact, min(b.low, 0), max(b.high, 0), b.low <= 0 <= b.high)


def _real_power(intervals: Any, a: Any, b: Any) -> Any:
    return intervals.power(a, b)


def _row(**parts: Any) -> Operation:
    """A row that is correctly rounded, with nothing out of the ordinary."""
    usual: dict[str, Any] = {
        "rounding": "nearest", "ulps": 0, "sympy": "", "restricted": unrestricted, "python": {},
    }  # fmt: skip
    return Operation(**{**usual, **parts})


_POWER: dict[str, Any] = {
    "symbol": "**", "arity": 2, "rounding": "bounded", "ulps": 2, "spoken": "{0}_to_{1}",
    "meaning": lambda sympy, a, b: a**b, "value": power, "rational": rational_power,
    "nonnegative": lambda signs, a, b: signs.nonnegative(a) or signs.is_even(b),
    "restricted": lambda signs, a, b: "" if signs.is_whole(b) else "base of a real power",
    "enclose": _real_power, "ttir": {}, "fallible": True,
}  # fmt: skip

ROWS: Mapping[str, Operation] = {
    "add": _row(
        symbol="+", arity=2, usage="x + y", syntax="Add", spellings=everywhere(infix("+", SUM)),
        notation=Notation("sum", "+", SUM, SUM, PRODUCT), spoken="{0}_plus_{1}", whole=True,
        meaning=lambda sympy, a, b: a + b, value=lambda mp, a, b: a + b,
        rational=lambda a, b: a + b, nonnegative=both,
        enclose=lambda intervals, a, b: intervals.add(a, b), term=same("add"),
        ttir={"arith.addf": "add"},
        draws=(
            Draw(Sign.ANY, draws.infix("+", SUM)),
            Draw(Sign.NONNEGATIVE, draws.infix("+", SUM, Sign.NONNEGATIVE)),
            Draw(Sign.POSITIVE, _shifted, 3),
        ),
    ),
    "sub": _row(
        symbol="-", arity=2, usage="x - y", syntax="Sub", spellings=everywhere(infix("-", SUM)),
        notation=Notation("sum", "-", SUM, SUM, PRODUCT), spoken="{0}_minus_{1}", whole=True,
        meaning=lambda sympy, a, b: a - b, value=lambda mp, a, b: a - b,
        rational=lambda a, b: a - b,
        nonnegative=lambda signs, a, b: signs.is_at_least(a, b),
        enclose=lambda intervals, a, b: intervals.add(a, intervals.neg(b)), term=same("sub"),
        ttir={"arith.subf": "sub"},
        draws=(
            Draw(Sign.ANY, draws.infix("-", SUM), 2),
            Draw(Sign.POSITIVE, _correction, 2, tensors=False),
        ),
    ),
    "mul": _row(
        symbol="*", arity=2, usage="x*y", syntax="Mult", spellings=everywhere(infix("*", PRODUCT)),
        notation=Notation("product", precedence=PRODUCT), spoken="{0}_times_{1}", whole=True,
        meaning=lambda sympy, a, b: a * b, value=lambda mp, a, b: a * b,
        rational=lambda a, b: a * b,
        nonnegative=lambda signs, a, b: both(signs, a, b) or a == b,
        enclose=lambda intervals, a, b: intervals.mul(a, b), term=same("mul"),
        ttir={"arith.mulf": "mul"},
        draws=(
            Draw(Sign.ANY, draws.infix("*", PRODUCT), 2),
            Draw(Sign.NONNEGATIVE, draws.infix("*", PRODUCT, Sign.NONNEGATIVE)),
        ),
    ),
    # Triton's `/` and `tl.sqrt` are approximations on float32; EXACT is a constant of the kernel.
    "div": _row(
        symbol="/", arity=2, usage="x/y", syntax="Div",
        spellings=everywhere(
            infix("/", PRODUCT), triton=Spelling("div({0}, {1}, EXACT)", helper="div")
        ),
        notation=Notation("fraction"), spoken="{0}_over_{1}", fallible=True,
        meaning=lambda sympy, a, b: a / b, value=lambda mp, a, b: a / b,
        rational=lambda a, b: a / b, nonnegative=both,
        enclose=lambda intervals, a, b: intervals.div(a, b), term=same("div"),
        ttir={"arith.divf": "div.full", "tt.precise_divf": "div"},
        draws=(
            Draw(Sign.ANY, _quotient(Sign.ANY)),
            Draw(Sign.NONNEGATIVE, _quotient(Sign.NONNEGATIVE)),
        ),
    ),
    # Python's: of the sign of the divisor.
    "mod": _row(
        symbol="%", arity=2, usage="x % y", syntax="Mod",
        spellings=everywhere(infix("%", PRODUCT), c_scalar=Spelling("host_mod({0}, {1})")),
        notation=Notation("infix", "mod", PRODUCT, PRODUCT, UNARY), spoken="{0}_mod_{1}",
        whole=True, fallible=True, scalar=True, meaning=lambda sympy, a, b: sympy.Mod(a, b),
        sympy="Mod", value=lambda mp, a, b: a - b * mp.floor(a / b), rational=lambda a, b: a % b,
        nonnegative=lambda signs, a, b: signs.nonnegative(b), enclose=_remainder, term=same("mod"),
        ttir={}, draws=(Draw(Sign.NONNEGATIVE, _drawn_remainder, tensors=False),),
    ),
    # Of tensors, lowering leaves what is no root and no product.
    "pow": _row(
        **_POWER, usage="x**y", syntax="Pow", formula=True,
        term=lambda terms, a, b: terms.function("pow", a, b),
        spellings=everywhere(
            infix("**", POWER), numpy=function("pow", 2), triton=function("pow", 2),
            c=Spelling("real_pow({0}, {1})"), c_scalar=Spelling("pow({0}, {1})"),
        ),
        notation=Notation("power", precedence=POWER),
        draws=(
            Draw(Sign.ANY, _power, 2),
            Draw(Sign.ANY, _real_tensor_power),
            Draw(Sign.ANY, _host_power, 2, tensors=False),
            Draw(Sign.NONNEGATIVE, _even_power, 2),
            Draw(Sign.NONNEGATIVE, _root),
        ),
    ),
    # Python's `**` gives a complex root of a negative number; this raises, as `math.sqrt` does.
    "real_pow": _row(
        **{**_POWER, "python": {"math.pow": Reading("host", "pow")}}, usage="", syntax="",
        term=same("pow"),
        spellings=everywhere(
            Spelling("math.pow({0}, {1})"), torch=infix("**", POWER),
            c_scalar=Spelling("pow({0}, {1})"),
        ),
        notation=Notation("call"), draws=(),
    ),
    "square": _row(
        symbol="square", arity=1, usage="", syntax="",
        spellings=everywhere(
            Spelling("{0} * {0}", PRODUCT), numpy=function("square", 1),
            triton=function("square", 1), c=Spelling("real_square({0})"),
        ),
        notation=Notation("call"), spoken="square_{0}",
        meaning=lambda sympy, x: x**2, value=lambda mp, x: x * x, rational=lambda x: x * x,
        nonnegative=always, enclose=lambda intervals, x: intervals.mul(x, x),
        term=lambda terms, x: terms.apply("mul", x, x), ttir={}, draws=(),
    ),
    # Some versions of Triton negate as `0 - x`, so that -(+0) is +0 instead of -0.
    "neg": _row(
        symbol="-", arity=1, usage="-x", syntax="USub", rounding="exact",
        spellings=everywhere(infix("-", UNARY, 1), triton=function("neg", 1)),
        notation=Notation("minus", precedence=PRODUCT), spoken="minus_{0}", whole=True,
        meaning=lambda sympy, x: -x, value=lambda mp, x: -x, rational=lambda x: -x,
        nonnegative=unknown, enclose=lambda intervals, x: intervals.neg(x), term=same("neg"),
        ttir={"arith.negf": "neg"},
        draws=(
            Draw(Sign.ANY, lambda e, depth, tensor: e.negated(e.number(depth - 1, tensor))),
        ),
    ),
    # A scalar where a tensor is needed, rounded to the compute type; inserted by lowering.
    "fill": _row(
        symbol="fill", arity=1, usage="", syntax="",
        spellings=everywhere(
            Spelling("float({0})"), numpy=Spelling("np.full_like(p, {0}, real)"),
            triton=Spelling("tl.full([BLOCK], {0}, real)"), torch=Spelling("{0}"),
            c=Spelling("{0}"), c_scalar=Spelling("{0}"),
        ),
        notation=Notation("call"), spoken="fill_{0}",
        meaning=lambda sympy, x: x, value=lambda mp, x: x, rational=irrational,
        nonnegative=lambda signs, x: signs.nonnegative(x), enclose=lambda intervals, x: x,
        term=lambda terms, x: terms.rounded(x), ttir={}, draws=(),
    ),
}  # fmt: skip
