"""Formulas of functions against the functions, in 50 digits, where faults of a formula show.

Proofs take `operations.formulas` for what the functions of a rule are, in the reference and in
every kernel. So whoever says that the reference is the rule has to say that a formula is its
function.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cache

import numpy as np

from stepforge.operations import formulas
from stepforge.operations.arrays import rounded as computed
from stepforge.operations.formats import FORMATS
from stepforge.operations.table import OPERATIONS
from stepforge.verify.reading.tree import COMPARISONS
from stepforge.verify.rounding.intervals import LIMITS, Enclosure, mp, rounded

COUNT = 150
"""Random arguments of each size: around 1, and of all exponents."""
_LIBRARY = {"pow": "power", "atan2": "arctan2"}
"""Names in NumPy, which calls C's library, where they are others."""
MEASURED = {
    "atan2": "e19326b07a068e32",
    "cbrt": "9f12e6525f890348",
    "cos": "7a9b4c765afd2eab",
    "exp": "6231d75e7288c0d9",
    "expm1": "c5e3580316c350b2",
    "floor": "a4660e4da0ad0930",
    "log": "5713e243e9798d1d",
    "pow": "a745243eab2a5628",
    "sin": "fd5e6884eafd808d",
    "tanh": "7e184340551bf835",
}
"""Digests of the formulas whose errors `benchmarks/functions.py` has measured, and prints.

Where the arguments below find no fault of another formula, its error is still not known.
"""


def fault(function: str, kind: str) -> str:
    """Why a formula is not its function, or not known to be; "" if there is no reason."""
    if formulas.digest(function) != MEASURED.get(function):
        return f"the error of this formula of {function} has not been measured"
    return difference(function, kind)


@cache
def difference(function: str, kind: str) -> str:
    """An argument for which a formula is not its function; "" if none was found.

    Numbers are within `formulas.ULPS` of the exact value. Where an argument is zero, infinite or
    NaN, it is C's library that is right.

    Args:
        function: One of `formulas.names()`.
        kind: "f32" or "f64".
    """
    points = list(dict.fromkeys(_points(function, kind)))
    form = np.dtype(FORMATS[kind].numpy)
    columns = [np.array(column, form) for column in zip(*points, strict=True)]
    with np.errstate(all="ignore"):
        values = computed(function, kind, *columns)
    for row, value in zip(zip(*columns, strict=True), values, strict=True):
        given = [float(x) for x in row]
        if wanted := _differs(function, kind, given, float(value)):
            at = ", ".join(map(repr, given))
            return f"{function}({at}) is {wanted} in {form.name}, not {float(value)!r}"
    return ""


def _differs(function: str, kind: str, given: list[float], value: float) -> str:
    """What a value should be; "" if it is right."""
    row = OPERATIONS[function]
    if all(x and math.isfinite(x) for x in given):
        try:
            exact = row.value(mp, *map(mp.mpf, given))
        except (ArithmeticError, ValueError):
            exact = mp.nan
        if not isinstance(exact, mp.mpf):
            exact = mp.nan
    else:
        with np.errstate(all="ignore"):
            library = getattr(np, _LIBRARY.get(function, function))
            special = float(library(*(np.array([x]) for x in given))[0])
        if special == 0 and (value != 0 or math.copysign(1, special) != math.copysign(1, value)):
            return repr(special)
        exact = mp.mpf(special)
    if mp.isnan(exact) or math.isnan(value):
        return "" if mp.isnan(exact) and math.isnan(value) else str(mp.nstr(exact, 20))
    if row.rounding == "exact":
        right = value == exact
    else:
        form = LIMITS[FORMATS[kind].numpy]
        right = value in rounded(Enclosure(exact, exact, exact), form, formulas.ULPS)
    return "" if right else str(mp.nstr(exact, 20))


def _points(function: str, kind: str) -> Iterator[tuple[float, ...]]:
    """Arguments: special ones, where the formula turns, random ones, multiples of pi/2."""
    arity, form = OPERATIONS[function].arity, np.dtype(FORMATS[kind].numpy)
    rng = np.random.default_rng([len(function), form.itemsize])
    turns = _turns(function, kind)
    special = [0.0, -0.0, math.inf, -math.inf, math.nan]
    info = np.finfo(form)
    ends = [float(x) for x in (info.tiny, info.smallest_subnormal, info.max)]
    whole = [0.5, 1.0, 1.5, 2.0, 3.0, 2.0**info.nmant, 2.0 ** (info.nmant + 1) - 1]
    signed = [sign * x for x in (*ends, *whole, *turns) for sign in (1, -1)]
    if arity == 1:
        yield from ((x,) for x in (*special, *signed, *_near_multiples(info.nmant + 1)))
    else:
        yield from itertools.product((*special, *signed[: 2 * len((*ends, *whole))]), repeat=2)
        others = rng.normal(0, 3, len(signed)).astype(form).tolist()
        yield from zip(signed, others, strict=True)
        yield from zip(others, signed, strict=True)
    wide = np.frombuffer(rng.bytes(arity * COUNT * form.itemsize), form).reshape(arity, COUNT)
    near = rng.normal(0, 3, (arity, COUNT)).astype(form)
    close = 1 + rng.normal(0, 1, (arity, COUNT)) * 2.0 ** -rng.integers(1, info.nmant, COUNT)
    for columns in (wide, near, close.astype(form), near * np.exp(near)):
        yield from zip(*columns.tolist(), strict=True)


def _turns(function: str, kind: str) -> list[float]:
    """The numbers that a formula compares with, and their neighbours."""
    found: set[float] = set()

    def visit(e: formulas.Expression) -> None:
        if isinstance(e, formulas.Operation):
            for argument in e.args:
                if isinstance(argument, formulas.Number) and e.op in COMPARISONS:
                    found.update([abs(argument.value)] if isinstance(argument.value, float) else [])
                visit(argument)

    for formula in formulas.of(function).values():
        if formula.name.endswith(formulas.FORMATS[kind]):
            for _, step in formula.steps:
                visit(step)
            visit(formula.result)
    form = np.dtype(FORMATS[kind].numpy).type
    turns = [form(x) for x in sorted(found) if math.isfinite(x)]
    with np.errstate(over="ignore"):
        return [float(np.nextafter(x, form(to))) for x in turns for to in (0, x, math.inf)]


def _near_multiples(digits: int) -> Iterator[float]:
    """Numbers that are closer to multiples of pi/2 than others of their size."""
    with mp.workdps(400):
        for exponent in range(1 - digits, 1024 if digits > 24 else 128, 7):
            if exponent + digits > (1023 if digits > 24 else 127):
                break
            ratio = 2 * mp.mpf(2) ** exponent / mp.pi
            below, above = (0, 1), (1, 0)
            while True:  # the convergents of a continued fraction
                whole = int(mp.floor(ratio))
                below, above = above, (whole * above[0] + below[0], whole * above[1] + below[1])
                if above[1] >= 2**digits:
                    break
                ratio = 1 / (ratio - whole)
            yield math.ldexp(below[1], exponent)
