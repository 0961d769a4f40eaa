"""What the C header computes itself: number formats, and functions that are formulas."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support import ROOT

from stepforge.operations import formulas
from stepforge.operations.arrays import rounded
from stepforge.operations.table import OPERATIONS

FORMATS = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
NUMBERS = {"float32": 0, "float64": 1, "bfloat16": 2, "float16": 3}
KINDS = {"f32": ("float32", "float", np.float32), "f64": ("float64", "double", np.float64)}


def shim() -> str:
    """Arrays through the conversions of the shared C file, and through each function."""
    lines = [
        '#include "_stepforge.c"',
        "void convert_(int wide, int format, int narrows, void *to, const void *from, int64_t n)",
        "{ (narrows ? narrow : widen)[wide][format](to, from, n); }",
    ]
    for name in formulas.names():
        for real, kind, _ in KINDS.values():
            arguments = ["x[i]", "y[i]"][: OPERATIONS[name].arity]
            lines.append(
                f"void {name}_{real}_(int64_t n, {kind} *out, const {kind} *x, const {kind} *y)\n"
                "{ (void)y; for (int64_t i = 0; i < n; i++)"
                f" out[i] = real_{name}({', '.join(arguments)}); }}"
            )
    return "\n".join(lines) + "\n"


pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")


@pytest.fixture(scope="module", params=["-O3 -march=native", "-O1"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("numbers")
    (folder / "shim.c").write_text(shim())
    needed = ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    done = subprocess.run(
        ["cc", *request.param.split(), *needed, "-fopenmp-simd", "-fPIC", "-shared", "-pthread",
         f"-I{ROOT / 'generated' / 'c'}", "-o", "shim.so", "shim.c", "-lm"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "shim.so"))


def converted(library: Any, x: Any, format: str, to: str | None = None) -> Any:
    """Numbers of a wide type narrowed to a format, or those of the format widened `to` a type."""
    real = to or x.dtype.name
    out = np.empty(x.shape, to or FORMATS.get(format, format))
    library.convert_(
        int(real == "float64"), NUMBERS[format], int(to is None),
        ctypes.c_void_p(out.ctypes.data), ctypes.c_void_p(x.ctypes.data), ctypes.c_int64(x.size),
    )  # fmt: skip
    return out


def check_same(got: Any, wanted: Any) -> None:
    """The same bits, or both NaN."""
    word = f"u{wanted.dtype.itemsize}"
    same = (got.view(word) == wanted.view(word)) | (np.isnan(got) & np.isnan(wanted))
    assert got.dtype == wanted.dtype
    assert same.all(), np.flatnonzero(~same)[:5]


def hard(real: str, narrow: Any) -> Any:
    """Every number of a format, what lies midway between two, the neighbours, and random bits."""
    every = np.arange(1 << 16, dtype=np.uint16).view(narrow).astype(real)
    numbers = np.sort(every[np.isfinite(every)])
    midway = (numbers[:-1] / 2 + numbers[1:] / 2).astype(real)
    top = np.array([numbers[-1]], real)
    beyond = top + (numbers[-1] - numbers[-2]) / 2  # the first that is infinite
    at = np.concatenate([every, midway, beyond, -beyond, [np.nan, -np.nan, np.inf, -np.inf]])
    at = at.astype(real)
    rng = np.random.default_rng(0)
    word = f"u{at.dtype.itemsize}"
    chance = rng.integers(0, 1 << 63, 300_000).astype(word)
    if real == "float32":
        chance = rng.integers(0, 1 << 32, 300_000).astype(word)
    near = rng.normal(0, 1e-5, 100_000).astype(real)
    with np.errstate(all="ignore"):
        below = np.nextafter(at, at.dtype.type(-np.inf))
        above = np.nextafter(at, at.dtype.type(np.inf))
    return np.concatenate([at, below, above, chance.view(real), near])


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_16_bit_number_is_widened_exactly(format: str, real: str, library: Any) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(FORMATS[format])
    check_same(converted(library, every, format, real), every.astype(real))


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("format", FORMATS)
def test_numbers_are_narrowed_as_numpy_and_ml_dtypes_do(
    format: str, real: str, library: Any
) -> None:
    """float64 to float16 in one rounding, to bfloat16 through float32."""
    x = hard(real, FORMATS[format])
    with np.errstate(all="ignore"):
        if format == "bfloat16" and real == "float64":
            direct, x32 = x.astype(ml_dtypes.bfloat16), x.astype("f")
            check_same(x32.astype(ml_dtypes.bfloat16), direct)
        check_same(converted(library, x, format), x.astype(FORMATS[format]))


def test_double_and_float_are_converted_as_numpy_does(library: Any) -> None:
    x = hard("float64", np.float16)
    with np.errstate(all="ignore"):
        check_same(converted(library, x, "float32"), x.astype("f"))
        check_same(converted(library, x.astype("f"), "float64"), x.astype("f").astype("d"))


def test_double_to_half_rounds_once(library: Any) -> None:
    """Near ties of half precision that float cannot tell from a tie."""
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype("d")
    ties = (every[:-1] + every[1:]) / 2
    tiny = ties * 2.0**-40
    x = np.concatenate([s * (ties + d) for s in (1, -1) for d in (tiny, -tiny)])
    check_same(converted(library, x, "float16"), x.astype(np.float16))
    assert (x.astype("f").astype(np.float16) != x.astype(np.float16)).any()


SPECIAL = [0.0, 1.0, 2.0, 0.5, 1e-8, 8.0, 3.0, 88.8, 104.0, 709.8, 746.0, 1e5, 1e22, np.inf, np.nan]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", formulas.names())
def test_functions_have_the_bits_of_numpy(name: str, kind: str, library: Any) -> None:
    real, _, dtype = KINDS[kind]
    finfo = np.finfo(dtype)
    ends = [finfo.smallest_subnormal, finfo.tiny, finfo.max, finfo.eps]
    points = np.array([s * v for v in [*SPECIAL, *ends] for s in (1, -1)], dtype)
    rng = np.random.default_rng(len(name))
    word = f"u{finfo.bits // 8}"

    def drawn() -> Any:
        bits = rng.integers(0, 1 << 63, 20_000).astype(np.uint64) * np.uint64(2)
        wide = (bits >> np.uint64(64 - finfo.bits)).astype(word).view(dtype)
        return np.concatenate([rng.normal(0, 3, 20_000).astype(dtype), wide])

    x, y = (grid.ravel() for grid in np.meshgrid(points, points))
    x, y = np.concatenate([x, drawn()]), np.concatenate([y, drawn()])
    out = np.empty_like(x)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (out, x, y)]
    getattr(library, f"{name}_{real}_")(ctypes.c_int64(x.size), *pointers)
    with np.errstate(all="ignore"):
        check_same(out, np.asarray(rounded(name, kind, *[x, y][: OPERATIONS[name].arity])))
