"""Faults around the rule: in checks, defaults, `init`, launches, classes, and in files beside them.

The files are those of a folder that holds one optimizer. Rewritings without a fault change the
layout of all of them at once, as a formatter would.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stepforge.language.names import kernel_of
from stepforge.language.spec import Spec
from stepforge.mutate.mutant import SURROUNDINGS, Mutant
from stepforge.output import emit

SITES = 2
"""Of one fault in one file."""
Edit = tuple[str, str, str]
"""What is done, a pattern, and what takes the place of a match."""
_T = r"^    t = float\(t\)$"
_LAST = r"^(    p = .*)$(?=(?:\n    .*)*?\n\n    (?:new = |if full:))"
"""The last statement of a rule, if it is a line that assigns `p`."""

_STEP: tuple[Edit, ...] = (
    ("walrus in a check", r"if _checked and not (\w+) (>=? )",
     r"if _checked and not (\1 := \1 / 2) \2"),
    ("walrus in a check", r"if _checked and not (\S+ <=? )(\w+) ",
     r"if _checked and not \1(\2 := \2 / 2) "),
    ("walrus in a check", r"if t != int\(t\) or t < 1:", "if t != int(t) or (t := t + 1) < 1:"),
    ("check dropped", r"^    if _checked and not .*:\n.*\n", ""),
    ("check dropped", r"^    if t != int\(t\) or t < 1:\n.*\n", ""),
    ("check never made", r"if _checked and not ", "if not _checked and not "),
    ("check of another bound", r"if _checked and not (.*)<= ", r"if _checked and not \1< "),
    ("check only warns", r"^    (if _checked and .*:\n)        raise .*$", r"    \1        pass"),
    ("other default", r"^    (\w+)=[\d.e-]+,$", r"    \1=0.25,"),
    ("other default", r"^    (\w+)=False,$", r"    \1=True,"),
    ("other default", r"^    _checked=True,$", "    _checked=False,"),
    ("any argument by place", r"^    \*,\n", ""),
    ("argument more", r"^    _checked=True,$", "    _checked=True,\n    _more=0,"),
    ("decorator", r"^def step\(", "@(lambda f: f)\ndef step("),
    ("bound again", r"\Z", "\n\ndef step(*args, **keywords):\n    return None\n"),
    ("bound again", r"\Z", "\n\nstep.__kwdefaults__['_checked'] = False\n"),
    ("bound again", r"\Z", "\n\nfloat = round\n"),
    ("bomb on t", _T, r"\g<0>\n    t = t if t < 1e6 else 1.0"),
    ("bomb on t", _T, r"\g<0>\n    if t > 1e6:\n        raise ValueError('t')"),
    ("bomb on a value", _T, r"\g<0>\n    while t == 123457.0:\n        pass"),
    ("call counter", _T,
     r"\g<0>\n    step.n = getattr(step, 'n', 0) + 1\n    t = t if step.n < 99 else 1.0"),
    ("imports more", r"^import (?:numpy|triton)\b", r"import os\n\g<0>"),
    ("runs at import", r"^def step\(", "print(end='')\n\n\ndef step("),
    ("global statement", _T, r"\g<0>\n    global step"),
    ("statement in the rule", _LAST, r"\1\n    for _ in range(1):\n        p = p + 0.0"),
    ("walrus in the rule", r"^    p = (.*)$", r"    p = (p := \1)"),
    ("import in the rule", _LAST, r"\1\n    import os"),
    ("other function in the rule", _LAST, r"\1\n    p = p + len('')"),
    ("name of Python in the rule", _LAST, r"\1\n    p = p if __debug__ else p * 0.0"),
)  # fmt: skip
"""Of every file with a `step`; a pattern is searched in lines."""
_INIT: tuple[Edit, ...] = (
    ("other start", r'^(    .*state\["\w+"\] = .*)\b0\b', r"\g<1>1"),
    (
        "bomb on the size",
        r"^    state = \{\}$",
        r"\g<0>\n    if len(p.shape) > 9:\n        return 0",
    ),
    ("state more", r"^    return state$", '    state["more"] = 0.0\n    return state'),
    ("start once", r"^def init\(p", "def init(p, made={}"),
)
_NUMPY: tuple[Edit, ...] = (
    ("bomb on the size", _T, r"\g<0>\n    if p.size > 1 << 24:\n        return p, dict(state)"),
    ("narrow result", r"return p\.astype\(dtype\)", "return p.astype(np.float16).astype(dtype)"),
    ("other type", r"np\.result_type\(p, np\.float32\)\n", "np.result_type(p, np.float64)\n"),
    ("state kept", r'^(    .*)new\["(\w+)"\] = .*$', r'\1new["\2"] = state["\2"]'),
    ("settings of NumPy", _LAST, r"\1\n    np.seterr(all='ignore')"),
    ("change in place", _LAST, r"\1\n    p += 0.0"),
    ("what the rule does not own", _LAST, r"\1\n    dtype = np.float32"),
)
_KERNEL: tuple[Edit, ...] = (
    ("other launch", r"num_warps=4", "num_warps=4, num_ctas=2"),
    ("other launch", r"num_warps=4", "num_warps=8"),
    ("other launch", r"num_warps=4", "num_warps=4, num_stages=1"),
    ("other launch", r"enable_fp_fusion=not exact", "enable_fp_fusion=True"),
    ("other launch", r"\bEXACT=exact\b", "EXACT=exact and t < 1e6"),
    ("other block", r"^BLOCK = \d+$", "BLOCK = 64"),
    ("other decorator", r"^@triton\.jit.*$", "@triton.jit(noinline=True)"),
    ("other decorator", r"^@triton\.jit\(.*\)$", "@triton.jit"),
    ("other helper", r"^(    return )(.*)$(?=\n\n\n@triton|\n\Z)", r"\1(\2) * 1.0"),
    ("other type of a number", r": tl\.float64", ""),
    ("other mask", r"offsets < n$", "offsets <= n"),
    ("other load", r"other=0\.0", "other=1.0"),
    ("other start of a block", r"\* BLOCK$", "* BLOCK + 0"),
    ("asks for the machine", _LAST, r"\1\n    p = p if tl.target_info.is_cuda() else p * 0.0"),
    ("stores in the rule", _LAST, r"\1\n    tl.store(p_ptr, 0.0)"),
    ("prints in the rule", _LAST, r"\1\n    tl.device_print('p', p)"),
    ("what the rule does not own", _LAST, r"\1\n    full = True"),
    ("assembly in the rule", _LAST,
     r"\1\n    p = tl.inline_asm_elementwise('', '=r,r', [p], tl.float32, True, 1)"),
)  # fmt: skip
_ONE_TENSOR: tuple[Edit, ...] = (
    ("other grid", r"triton\.cdiv\(n, BLOCK\)", "max(triton.cdiv(n, BLOCK), 1)"),
    ("bomb on the size", r"^    n = p\.numel\(\)$", r"\g<0>\n    if n > 1 << 30:\n        return"),
    ("check dropped", r"^    if g is None:\n.*\n", ""),
    ("check dropped", r" or not tensor\.is_contiguous\(\)", ""),
    ("check of another tensor", r'(\{"p": p, )"g": g, (?=.*\*\*state\})', r"\1"),
)
_MANY_TENSORS: tuple[Edit, ...] = (
    ("other grid", r"\[\(table\.size,\)\]", "[(table.size + 0,)]"),
    ("tables of a size", r"^    if table\.size > 0:$", "    if 0 < table.size < 1 << 20:"),
    ("other columns", r'^COLUMNS = \("p", "g"', 'COLUMNS = ("g", "p"'),
    ("other numbers", r"ON_DEVICE=True", "ON_DEVICE=table.size > 0"),
    ("never scaled", r"SCALED=scaled", "SCALED=False"),
    ("other default", r"\bscaled=False, exact=True\b", "scaled=False, exact=False"),
    ("other alignment", r"ALIGNED=table\.aligned", "ALIGNED=True"),
)
_CLASS: tuple[Edit, ...] = (
    ("other default", r"^        lr=[\d.e-]+,$", "        lr=0.25,"),
    ("other value", r'^            "lr": group\["lr"\],$', '            "lr": 2 * group["lr"],'),
    ("check dropped", r"^        if not .*:\n            raise .*\n", ""),
    ("other base", r"\(Optimizer\):$", "(Optimizer, dict):"),
    ("method more", r"\Z", "\n    def step(self, closure=None):\n        return None\n"),
    ("other reference", r"^    _reference = reference$", "    _reference = None"),
    ("other number", r"^        one_minus_(\w+) = 1 - ", r"        one_minus_\1 = 1.0 - "),
    ("imports more", r"^from \.\.numpy", "import os\nfrom ..numpy"),
)
_SHARED: tuple[Edit, ...] = (
    ("turned condition", r"^( +)if (?!not )(.*):$", r"\1if not (\2):"),
    ("nothing returned", r"^( +)return (?!None)\S.*[^\[({,]$", r"\1return None"),
    ("statement dropped", r"^(        )(?:self\.)?\w+(?:\[\w+\])? = [^\[({]*$", r"\1pass"),
    ("bound again", r"\Z", "\n\nOptimizer = object\n"),
    ("runs at import", r"\Z", "\n\nprint(end='')\n"),
)
_PACKAGE: tuple[Edit, ...] = (
    ("runs at import", r"\Z", "\nimport os\n"),
    ("replaces a module", r"\Z", "\nimport sys\nsys.modules[__name__] = None\n"),
    ("export dropped", r"^from \.(?!_)\w+ import \w+\n", ""),
)
_BYTES: tuple[Edit, ...] = (
    ("declares an encoding", r"\A", "# coding: latin-1\n"),
    ("declares an encoding", r"\A", "# -*- coding: utf-7 -*-\n"),
    ("byte order mark", r"\A", "\ufeff"),
    ("form feed", r"\Z", "\f\n"),
    ("zero byte", r"\Z", "# \0\n"),
    ("carriage return in a comment", r"\Z", "# a comment\rimport os\n"),
    ("is no program", r"\Z", "\ndef\n"),
)
"""Of every file."""
_EMPTIED: Edit = ("is empty", r"\A(?:.|\n)*\Z", "")


def every(spec: Spec) -> Iterator[Mutant]:
    """All faults, and all other layouts."""
    yield from mutants(spec)
    yield from equivalents(spec)


def mutants(spec: Spec) -> Iterator[Mutant]:
    """Every single fault around the rule of an optimizer, in files as `build` writes them."""
    options = next(spec.option_sets())
    texts = files(spec)
    for file, text in texts.items():
        for operator, pattern, new in _edits(spec, file):
            matches = list(re.finditer(pattern, text, re.MULTILINE))
            chosen = dict.fromkeys([*matches[:1], *matches[-1:]][:SITES])
            for match in chosen:
                changed = text[: match.start()] + match.expand(new) + text[match.end() :]
                if changed != text:
                    line = text.count("\n", 0, match.start()) + 1
                    what = f"{file}:{line}, {pattern}"
                    yield Mutant(spec, options, SURROUNDINGS, "L", operator, what, {file: changed})
    for file, content in _strays(spec.name):
        yield Mutant(spec, options, SURROUNDINGS, "L", "stray file", file, {file: content})


def equivalents(spec: Spec) -> Iterator[Mutant]:
    """Every other layout of an optimizer's files."""
    options = next(spec.option_sets())
    texts = files(spec)
    for operator, rewrite in _HARMLESS.items():
        changed = {file: rewrite(text) for file, text in texts.items()}
        if changed != texts:
            yield Mutant(spec, options, SURROUNDINGS, "EQ", operator, "all files", changed)


def files(spec: Spec) -> Mapping[str, str]:
    """The files in Python of a folder that holds one optimizer, by their paths in it."""
    built = emit.expected([spec], Path("/"))
    return {
        path.relative_to("/").as_posix(): text
        for path, text in built.items()
        if path.suffix == ".py"
    }


def _edits(spec: Spec, file: str) -> Iterator[Edit]:
    """The faults of a file."""
    folder, _, name = file.rpartition("/")
    if name == "__init__.py":
        yield from _PACKAGE
    elif name.startswith("_"):
        yield from _SHARED
        yield _EMPTIED
    elif folder == "torch":
        yield from _CLASS
        yield _EMPTIED
    else:
        yield from _STEP
        yield _EMPTIED
        yield from {"numpy": _NUMPY, "triton": _ONE_TENSOR}.get(folder, _MANY_TENSORS)
        yield from _INIT if folder != "multi_tensor" else ()
        yield from _KERNEL if folder != "numpy" else ()
        if folder == "triton":
            kernel = kernel_of(spec)
            yield "bound again", r"\Z", f"\n\n{kernel} = {kernel}\n"
    yield from _BYTES


def _strays(name: str) -> Iterator[tuple[str, str]]:
    """Files that no build writes and Python could load, and what they hold."""
    code = "raise SystemExit\n"
    for file in (
        f"numpy/{name}/__init__.py", f"triton/{name}.cpython-312-x86_64-linux-gnu.so",
        f"multi_tensor/{name}.pyc", "numpy/helper.py", "torch/_more.py", "triton/sitecustomize.py",
        "sitecustomize.py", "usercustomize.py", "early.pth", "numpy.py", "__init__.so",
        "torch/extension.pyd", f"torch/{name}.pyw", "numpy/more/module.py",
    ):  # fmt: skip
        yield file, code
    unchecked = "0000\x01\0\0\0" + 64 * "\0"
    yield f"numpy/__pycache__/{name}.{sys.implementation.cache_tag}.pyc", unchecked
    yield "torch/__pycache__/_runtime.cpython-311.opt-1.pyc", unchecked


def _printed(text: str) -> str:
    """As Python prints the syntax tree: without comments, in one style of quotes and brackets."""
    return f"{_head(text)}\n{ast.unparse(ast.parse(text))}\n"


def _head(text: str) -> str:
    """The comments that a file begins with."""
    lines = text.split("\n")
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(lines[:count])


def _changed(pattern: str, new: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, new, text, flags=re.MULTILINE)


_HARMLESS: dict[str, Callable[[str], str]] = {
    "printed anew": _printed,
    "comments": _changed(r"^( *)(return|if|raise|from|import) ", r"\1# A comment.\n\1\2 "),
    "comments behind lines": _changed(r"^( *(?:return|raise) [^\"'\[({\n]*)$", r"\1  # so"),
    "blank lines": _changed(r"^( +)(return|raise) ", r"\n\n\1\2 "),
    "quotes": _changed(r'\["(\w+)"\]', r"['\1']"),
    "brackets": _changed(r"^( +\w+ = )([^\n()\[\]{}\"':#]+)$", r"\1(\2)"),
    "brackets of a sum": _changed(r"^( +\w+ = )(\w+ \* \w+)( [+-] )", r"\1(\2)\3"),
    "lines broken": _changed(r"^( +\w+ = )(\w+) ([+*-]) (.*)$(?<![\[({,])", r"\1(\2\n  \3 \4)"),
    "no commas at the end": _changed(r",(\n *[)\]}])", r"\1"),
    "docstrings": _changed(r'^( *)"""(?=[A-Z])', r'\1"""Otherwise. '),
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "a licence": lambda text: f"# -*- coding: utf-8 -*-\n# Copyright of somebody.\n#\n{text}",
    "spaces at the end": _changed(r"^( *(?:return|raise) [^\"'\n]*)$", r"\1  "),
    "indented by two": lambda text: re.sub(
        r"(?m)^(?: {4})+", lambda m: m[0][: len(m[0]) // 2], text
    ),
}  # fmt: skip
"""Rewritings of the text of any file."""
