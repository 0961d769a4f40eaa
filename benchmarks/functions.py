"""How far the elementary functions of stepforge are from the exact values, in every format.

`python benchmarks/functions.py [NAME…] [--format float32] [--quick] [--fused]`

The formulas are printed as C and compiled with gcc. In float32
functions of one argument run on all 2^32 inputs, against the C library in double precision; all
others on samples, in float64 against libquadmath, which has 113 bits. NumPy evaluates the same
texts, and has to give the same bits. The exit status is 1 if an error is above 1 ulp, a special
value is not that of C99's Annex F, or NumPy differs. `--fused` rounds a product and the sum after
it at once, as compilers do in fast mode; an error may be 2 ulp then, and bits are not compared.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from formula_texts import FLOATS, INTEGERS, formulas

from stepforge.operations.formulas import FUSED_ULPS, ULPS, digest

NAMES = ("exp", "log", "pow", "tanh", "expm1", "cbrt", "floor", "sin", "cos", "atan2")
CHUNK = 1 << 20
PRELUDE = """
#include <math.h>
#include <quadmath.h>
#include <stdint.h>
#include <string.h>
typedef {real} real;
typedef {integer} integer;
typedef {wide} wide;
#define DIGITS {digits}
#define SMALLEST {smallest}
#define FUNCTION {name}_{format}({arguments})
#define REFERENCE {name}{q}({arguments})
#define wide_frexp frexp{q}
#define wide_ldexp ldexp{q}
#define absolute fabs{f}
#define root sqrt{f}
static inline integer to_bits(real x) {{ integer i; memcpy(&i, &x, sizeof i); return i; }}
static inline real from_bits(integer i) {{ real x; memcpy(&x, &i, sizeof x); return x; }}
"""
KINDS: dict[str, dict[str, Any]] = {
    "float32": {"real": "float", "integer": "int32_t", "wide": "double", "digits": 24,
                "smallest": -126, "q": "", "f": "f"},
    "float64": {"real": "double", "integer": "int64_t", "wide": "__float128", "digits": 53,
                "smallest": -1022, "q": "q", "f": ""},
}  # fmt: skip
FLAGS = ("-O2", "-fno-fast-math", "-fwrapv", "-fopenmp", "-shared", "-fPIC")
SEPARATE, FUSED = ("-ffp-contract=off",), ("-ffp-contract=fast", "-mfma")
"""Products and sums that are rounded separately, as the formulas say, or at once."""


class Statistics(ctypes.Structure):
    """What `functions.c` counts; `where` is the index of the first input with the worst error."""

    _fields_ = [
        ("worst", ctypes.c_double), ("where", ctypes.c_int64), ("rounded", ctypes.c_int64),
    ]  # fmt: skip


class Measured:
    """A function in one format: its formula, and a library that compares it with a reference."""

    def __init__(
        self, name: str, format: str, folder: Path, flags: tuple[str, ...] = SEPARATE
    ) -> None:
        known = formulas(name)
        self.name, self.formula = name, known[f"{name}_{format}"]
        self.real, self.integer = FLOATS[format], INTEGERS[format]
        self.worst, self.where, self.rounded, self.count = 0.0, (), 0, 0
        source, library = folder / f"{name}_{format}.c", folder / f"{name}_{format}.so"
        arguments = ", ".join("xy"[: self.arity])
        text = PRELUDE.format(name=name, format=format, arguments=arguments, **KINDS[format])
        text += "".join(f.c for f in known.values() if f.format == format)
        source.write_text(text + Path(__file__).with_suffix(".c").read_text("utf-8"), "utf-8")
        subprocess.run(
            ["cc", *FLAGS, *flags, "-o", library, source, "-lquadmath", "-lm"], check=True
        )
        self.library = ctypes.CDLL(str(library))

    @property
    def arity(self) -> int:
        """How many arguments it has."""
        return len(self.formula.arguments)

    def _compared(self, statistics: Statistics, count: int, point: Callable[[int], Any]) -> None:
        if statistics.worst > self.worst:
            self.worst, self.where = statistics.worst, point(statistics.where)
        self.rounded += statistics.rounded
        self.count += count

    def sweep(self, start: int, count: int) -> None:
        """Compares a range of bit patterns."""
        statistics = Statistics()
        self.library.sweep(ctypes.c_int64(start), ctypes.c_int64(count), ctypes.byref(statistics))
        self._compared(statistics, count, lambda i: (np.uint32(start + i).view(np.float32).item(),))

    def sample(self, arguments: tuple[Any, ...]) -> None:
        """Compares some arguments."""
        statistics, count = Statistics(), len(arguments[0])
        self.library.measure(*_pointers(arguments), ctypes.c_int64(count), ctypes.byref(statistics))
        self._compared(statistics, count, lambda i: tuple(a[i].item() for a in arguments))

    def __call__(self, *arguments: Any) -> Any:
        """What the compiled formula gives."""
        result = np.empty_like(arguments[0])
        self.library.evaluate(
            *_pointers(arguments), ctypes.c_int64(len(result)), *_pointers((result,))[:1]
        )
        return result


def _pointers(arrays: tuple[Any, ...]) -> list[ctypes.c_void_p]:
    """Two addresses; a function of one argument does not read the second."""
    return [a.ctypes.data_as(ctypes.c_void_p) for a in (arrays[0], arrays[-1])]


SPECIAL = {
    "exp": "0=1 -0=1 inf=inf -inf=0 nan=nan",
    "log": "1=0 0=-inf -0=-inf -1=nan -inf=nan inf=inf nan=nan",
    "tanh": "0=0 -0=-0 inf=1 -inf=-1 nan=nan",
    "expm1": "0=0 -0=-0 inf=inf -inf=-1 nan=nan",
    "cbrt": "0=0 -0=-0 1=1 8=2 -8=-2 -27=-3 inf=inf -inf=-inf nan=nan",
    "floor": "0=0 -0=-0 0.5=0 -0.5=-1 3=3 -3=-3 inf=inf -inf=-inf nan=nan",
    "sin": "0=0 -0=-0 inf=nan -inf=nan nan=nan",
    "cos": "0=1 -0=1 inf=nan -inf=nan nan=nan",
    "pow": "0,-3=inf -0,-3=-inf 0,-2=inf -0,-2=inf -0,-0.5=inf 0,-inf=inf -0,-inf=inf 0,3=0 -0,3=-0"
    " 0,2=0 -0,2=0 -0,0.5=0 -0,inf=0 -1,inf=1 -1,-inf=1 1,nan=1 1,inf=1 nan,0=1 nan,-0=1 0,0=1"
    " inf,0=1 -inf,-0=1 -2,0.5=nan -0.5,-1.5=nan 0.5,-inf=inf -0.5,-inf=inf 2,-inf=0 -2,-inf=0"
    " 0.5,inf=0 -0.5,inf=0 2,inf=inf -2,inf=inf -inf,-3=-0 -inf,-2=0 -inf,-0.5=0 -inf,3=-inf"
    " -inf,2=inf -inf,0.5=inf inf,-1=0 inf,0.5=inf inf,inf=inf inf,-inf=0 nan,1=nan 2,nan=nan"
    " nan,nan=nan -1,nan=nan 0,nan=nan -2,3=-8 -2,2=4 -2,16777215=-inf -2,1e30=inf -1,8388607=-1"
    " -1,8388608=1 -1,8388607.5=nan -0.5,-1e30=inf",
    "atan2": "0,-0=pi -0,-0=-pi 0,0=0 -0,0=-0 0,-1=pi -0,-1=-pi 0,1=0 -0,1=-0 -1,0=-pi/2"
    " -1,-0=-pi/2 1,0=pi/2 1,-0=pi/2 1,-inf=pi -1,-inf=-pi 1,inf=0 -1,inf=-0 inf,1=pi/2"
    " -inf,-1=-pi/2 inf,-inf=3pi/4 -inf,-inf=-3pi/4 inf,inf=pi/4 -inf,inf=-pi/4 0,-inf=pi"
    " -0,inf=-0 inf,0=pi/2 1,1=pi/4 nan,1=nan 1,nan=nan nan,inf=nan inf,nan=nan nan,nan=nan",
}
ANGLES = {"pi": math.pi, "pi/2": math.pi / 2, "pi/4": math.pi / 4, "3pi/4": math.pi * 3 / 4}
HARD: dict[str, list[tuple[float, float]]] = {
    "exp": [(-1, 1), (-746, 710), (88.7, 88.8), (-104, -87)],
    "log": [(0.5, 2), (0.99, 1.01)],
    "tanh": [(-0.6, 0.6), (-20, 20)],
    "expm1": [(-0.5, 0.5), (-40, 40), (-1, 710)],
    "cbrt": [(-8, 8)],
    "floor": [(-9, 9), (-1e7, 1e7), (-1e16, 1e16)],
    "sin": [(-0.8, 0.8), (-9, 9), (-1e9, 1e9)],
    "cos": [(-0.8, 0.8), (-9, 9), (-1e9, 1e9)],
}
"""Intervals from which half of the samples come."""
NEAR_MULTIPLE = float.fromhex("0x1.6ac5b262ca1ffp+849")
"""The float64 that is closest to a multiple of pi / 2 (Muller's Handbook)."""


def number(text: str) -> float:
    """A number of `SPECIAL`."""
    return -number(text[1:]) if text.startswith("-") else ANGLES.get(text) or float(text)


def special(name: str) -> list[list[float]]:
    """Arguments and results that are given."""
    return [
        [number(n) for n in pair.replace("=", ",").split(",")] for pair in SPECIAL[name].split()
    ]


def draw(measured: Measured, count: int, random: np.random.Generator) -> tuple[Any, ...]:
    """Arguments: any bit pattern, the neighbourhood of special values, and what is hard."""
    real, name = measured.real, measured.name
    integer, bits = measured.integer, 8 * real().itemsize

    def patterns() -> Any:
        return random.integers(-(1 << (bits - 1)), 1 << (bits - 1), part, np.int64).astype(integer)

    def beside(column: int) -> Any:
        points = [
            *(row[column] for row in special(name)),
            NEAR_MULTIPLE,
            float(np.finfo(real).tiny),
        ]
        with np.errstate(over="ignore"):
            chosen = random.choice(np.array(points).astype(real), part).view(integer)
        return chosen + random.integers(-999, 1000, part).astype(integer)

    part = count // 4
    columns = range(measured.arity)
    anything = [[patterns().view(real), beside(k).view(real)] for k in columns]
    half = count - 2 * part
    # Positive numbers: as close to 1 as there are digits, or any.
    close = np.exp2(random.uniform(-1, 1, half) * np.exp2(random.uniform(-bits / 1.3, 0, half)))
    spread = np.abs(np.resize(anything[0][0], half).astype(np.float64))
    size = np.where(random.random(half) < 0.5, close, spread)
    with np.errstate(all="ignore"):
        if name == "pow":
            exponents = (-150, 130) if real is np.float32 else (-1080, 1030)
            hard = [size, random.uniform(*exponents, half) / np.log2(size)]
        elif name == "atan2":
            side = random.choice([-1.0, 1.0], half) * np.exp2(random.uniform(-4, 4, half))
            hard = [size * side, size]
        else:
            low, high = np.array(HARD[name])[random.integers(len(HARD[name]), size=half)].T
            hard = [random.uniform(low, high)]
            if name in ("sin", "cos"):
                turns = np.trunc(hard[0]).astype(np.longdouble) * np.arccos(np.longdouble(0))
                hard = [np.where(random.random(half) < 0.5, turns, hard[0])]
        arguments = [
            np.concatenate([*a, h.astype(real)]) for a, h in zip(anything, hard, strict=True)
        ]
    # The signalling bit of a NaN would raise a warning of its own.
    return tuple(np.where(np.isnan(a), real(np.nan), a) for a in arguments)


def same(one: Any, other: Any) -> Any:
    """Which are equal in every bit, any NaN being equal to any NaN."""
    bits = np.int32 if one.dtype == np.float32 else np.int64
    return (one.view(bits) == other.view(bits)) | (np.isnan(one) & np.isnan(other))


def wrong_specials(measured: Measured) -> str:
    """`right`, or the first special value that is not."""
    rows = np.array(special(measured.name))
    with np.errstate(over="ignore"):
        columns = [np.ascontiguousarray(c) for c in rows.T.astype(measured.real)]
    right = same(measured(*columns[:-1]), columns[-1])
    return "right" if right.all() else f"wrong at {rows[np.argmin(right)][:-1]}"


def disagreement(measured: Measured, arguments: tuple[Any, ...]) -> str:
    """Whether NumPy gives other bits, or warns where arguments and result are finite."""
    compiled = measured(*arguments)
    with np.errstate(all="ignore"):
        differ = int(np.sum(~same(measured.formula(*arguments), compiled)))
    finite = np.all(np.isfinite([*arguments, compiled]), axis=0)
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            measured.formula(*(a[finite] for a in arguments))
    except FloatingPointError as error:
        return f"{differ} differ, {error}"
    return f"{differ} differ"


def work(measured: Measured, quick: bool) -> Iterator[float]:
    """Compares with the reference, piece by piece; yields how much is done."""
    if measured.real is np.float32 and measured.arity == 1 and not quick:
        pieces = 64
        for piece in range(pieces):
            measured.sweep(piece << 26, 1 << 26)
            yield (piece + 1) / pieces
        return
    random = np.random.default_rng(20)
    pieces = 1 if quick else 32
    for piece in range(pieces):
        measured.sample(draw(measured, CHUNK, random))
        yield (piece + 1) / pieces


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"functions (default: {' '.join(NAMES)})")
    parser.add_argument("--format", choices=FLOATS, help="one format only")
    parser.add_argument("--quick", action="store_true", help="samples instead of all inputs")
    parser.add_argument("--fused", action="store_true", help="products fused with sums")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no function {', '.join(sorted(unknown))}")
    title = f"{'function':8} {'format':8} {'inputs':>10} {'ulp':>6} {'rounded':>9}"
    print(f"{title} {'operations':>10}  {'special':8} {'NumPy':9} worst at", flush=True)
    good, flags = True, FUSED if options.fused else SEPARATE
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or NAMES:
            for format in [options.format] if options.format else FLOATS:
                measured = Measured(name, format, Path(folder), flags)
                for done in work(measured, options.quick):
                    print(f"\r{name} {format} {done:4.0%}", end="", file=sys.stderr, flush=True)
                specials = wrong_specials(measured)
                if options.fused:
                    numpy, good = "-", good and measured.worst <= FUSED_ULPS
                else:
                    arguments = draw(measured, 2 * CHUNK, np.random.default_rng(4))
                    numpy = disagreement(measured, arguments)
                    good &= measured.worst <= ULPS and numpy == "0 differ"
                good &= specials == "right"
                ulp = f"{measured.worst:.3f}" if measured.worst else "<= 0.5"
                where = ", ".join(map(repr, measured.where)) or "nowhere"
                print("\r" + " " * 30 + "\r", end="", file=sys.stderr, flush=True)
                print(
                    f"{name:8} {format:8} {measured.count:10} {ulp:>6}"
                    f" {measured.rounded / measured.count:9.4%} {measured.formula.operations:10}"
                    f"  {specials:8} {numpy:9} {where}",
                    flush=True,
                )
    if options.fused:
        return int(not good)
    print("\nMEASURED in stepforge.verify.rounding.functions, of formulas measured on all inputs:")
    for name in options.names or NAMES:
        print(f'    "{name}": "{digest(name)}",')
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
