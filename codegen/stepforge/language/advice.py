"""What people write out of habit, why the rule language does not have it, and what to write."""

from __future__ import annotations

import re
from collections.abc import Collection

from stepforge.language.diagnostics import nearest
from stepforge.operations.table import BUILT_IN, OPERATIONS, author_functions

_NO_REDUCTION = (
    "a rule computes every element by itself, and this needs all of them",
    "there are no sums over elements yet: compute the number in your training loop, and declare it "
    "under [inputs] with `scalar = true`",
)
_NO_NORM = (
    _NO_REDUCTION[0],
    "there are no norms yet: to bound the gradient, call `torch.nn.utils.clip_grad_norm_` before "
    "the step",
)
_NO_PRODUCT = (
    "a rule computes every element by itself, and a matrix product needs rows and columns",
    "there are no matrix products yet; products of elements are written `x*y`",
)
_NO_ROUNDING = (
    "the rule language rounds nothing to whole numbers",
    "if it is a number that you know before the step, pass it as a hyperparameter",
)
_NO_RANDOMNESS = (
    "a rule has no random numbers: the same input gives the same step",
    "add noise to the gradient before the step",
)
_NO_TRIGONOMETRY = ("", f"there are {', '.join(author_functions())}")

FUNCTIONS_OF_OTHERS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("norm", "vector_norm", "l2norm"), _NO_NORM),
    **dict.fromkeys(
        ("mean", "sum", "rms", "var", "std", "prod", "amax", "amin", "median", "cumsum", "any",
         "all", "numel", "len", "size", "average", "argmax", "topk", "sort", "quantile"),
        _NO_REDUCTION,
    ),
    **dict.fromkeys(
        ("dot", "matmul", "mm", "inner", "outer", "einsum", "transpose", "trace", "svd", "inv"),
        _NO_PRODUCT,
    ),
    **dict.fromkeys(("round", "int", "trunc"), _NO_ROUNDING),
    **dict.fromkeys(("rand", "randn", "random", "normal", "dropout", "bernoulli"), _NO_RANDOMNESS),
    **dict.fromkeys(("erf", "erfc", "gamma"), _NO_TRIGONOMETRY),
    "norm_sq": _NO_NORM,
}  # fmt: skip
"""Function → why there is none, and what to do."""

SAME_AS = {
    "fabs": "abs(x)", "absolute": "abs(x)", "maximum": "max(x, y)", "minimum": "min(x, y)",
    "fmax": "max(x, y)", "fmin": "min(x, y)", "clamp": "clip(x, low, high)",
    "clip_by_value": "clip(x, low, high)", "ln": "log(x)", "sgn": "sign(x)", "rsqrt": "1/sqrt(x)",
    "pow": "x**y", "power": "x**y", "square": "x**2", "float": "x", "reciprocal": "1/x",
    "neg": "-x", "negative": "-x", "mul": "x*y", "add": "x + y", "sub": "x - y", "div": "x/y",
    "where": "x if condition else y", "select": "x if condition else y", "relu": "max(x, 0)",
    "sigmoid": "1/(1 + exp(-x))", "log2": "log(x)/log(2)",
    "log10": "log(x)/log(10)", "log1p": "log(1 + x)",
    "tan": "sin(x)/cos(x)", "atan": "atan2(x, 1)", "arctan2": "atan2(y, x)", "ceil": "-floor(-x)",
    "mod": "x % y", "fmod": "x % y", "remainder": "x % y",
    "exp2": "exp(x*log(2))", "hypot": "sqrt(x**2 + y**2)", "lerp": "x + weight*(y - x)",
    "zeros_like": "0", "ones_like": "1", "softsign": "x/(1 + abs(x))",
}  # fmt: skip
"""Function of others → the expression that is the same."""

OPERATORS: dict[str, tuple[str, str]] = {
    "//": ("floor division, which the rule language does not have", _NO_ROUNDING[1]),
    "@": (
        "a matrix product, which the rule language does not have",
        "there are no matrix products yet; products of elements are written `x*y`",
    ),
    "&": ("the bitwise and, which the rule language does not have", "write `and`"),
    "|": (
        "the bitwise or, which the rule language does not have",
        "write `or`; an absolute value is `abs(x)`",
    ),
    "<<": ("a shift of bits, which the rule language does not have", "write `x*2**n`"),
    ">>": ("a shift of bits, which the rule language does not have", "write `x/2**n`"),
}
"""Operator → what it is, and what to write."""

_E = "2.718281828459045"
CONSTANTS = {
    "pi": "write `pi`",
    "e": f"write `exp(x)` for e to the power of x; the number is `{_E}`",
    **dict.fromkeys(
        ("inf", "Inf", "infty", "infinity"),
        "numbers are finite: a first value that every number is below is for example `1e38`",
    ),
    **dict.fromkeys(
        ("nan", "NaN"), "numbers are finite; that `x` is NaN is written `x != x`, as in Python"
    ),
    **dict.fromkeys(("true", "false"), "options and comparisons are conditions by themselves"),
}
"""Name of a constant → what to write."""

BUILT_IN_SPELLINGS = {
    "theta": "p", "param": "p", "params": "p", "parameter": "p", "parameters": "p", "w": "p",
    "W": "p", "x": "p", "weight": "p", "weights": "p", "grad": "g", "grads": "g", "gradient": "g",
    "gradients": "g", "dp": "g", "dw": "g", "step": "t", "steps": "t", "iteration": "t", "k": "t",
    "i": "t",
}  # fmt: skip
"""What others call `p`, `g` and `t`."""

_DECAY = "0 <= {} < 1"
_HYPERPARAMETERS = {
    "lr": ("1e-3", "{} >= 0"), "learning_rate": ("1e-3", "{} >= 0"), "eta": ("1e-3", "{} >= 0"),
    "alpha": ("0.99", _DECAY), "beta": ("0.9", _DECAY), "beta1": ("0.9", _DECAY),
    "beta2": ("0.999", _DECAY), "beta3": ("0.999", _DECAY), "beta_1": ("0.9", _DECAY),
    "beta_2": ("0.999", _DECAY), "gamma": ("0.9", _DECAY), "momentum": ("0.9", "{} >= 0"),
    "mu": ("0.9", "{} >= 0"), "rho": ("0.9", _DECAY), "decay": ("0.9", _DECAY),
    "dampening": ("0", "{} >= 0"), "eps": ("1e-8", "{} >= 0"), "epsilon": ("1e-8", "{} >= 0"),
    "weight_decay": ("1e-2", "{} >= 0"), "wd": ("1e-2", "{} >= 0"), "lambda_": ("1e-2", "{} >= 0"),
    "l2": ("1e-2", "{} >= 0"), "lr_decay": ("0", "{} >= 0"), "delta": ("1e-8", "{} >= 0"),
    "tau": ("1e-3", "{} >= 0"), "clip_value": ("1.0", "{} > 0"), "threshold": ("1.0", "{} > 0"),
    "max_norm": ("1.0", "{} > 0"), "warmup": ("1000", "{} >= 1"),
    "warmup_steps": ("1000", "{} >= 1"),
}  # fmt: skip
"""Names that usually are hyperparameters → a default, and a domain."""
_STATES = (
    "m", "v", "u", "s", "n", "m_max", "v_max", "velocity", "momentum_buffer", "exp_avg",
    "exp_avg_sq", "square_avg", "max_exp_avg_sq", "sum", "acc", "buf",
)  # fmt: skip
_OPTIONS = ("maximize", "amsgrad", "nesterov", "decoupled", "centered", "bias_correction")
_INPUTS = {
    "loss": "scalar = true, ", "loss_value": "scalar = true, ", "f_value": "scalar = true, ",
    **dict.fromkeys(
        ("hessian", "hess", "h_hat", "hessian_diag", "hessian_diagonal", "hut_trace", "mask"), ""
    ),
}  # fmt: skip
"""Names that usually are inputs → the keys before their documentation."""
_TIMES = re.compile(r"(.+?)_(?:t|tm1|t_1|prev|previous|old|last|new|next|now|current)\Z")


def about_name(name: str, known: Collection[str]) -> str:
    """What to write in place of a name that nothing declares or assigns, or ""."""
    if name in author_functions():
        return f"`{name}` is a function: write `{OPERATIONS[name].usage}`"
    if name in CONSTANTS:
        return CONSTANTS[name]
    if built_in := spelled_otherwise(name):
        return f"{BUILT_IN[built_in]} is `{built_in}`"
    if base := without_time(name, known):
        return f"a name has its value of this step: write `{base}`"
    near = nearest(name, known)
    if entry := _HYPERPARAMETERS.get(name):
        default, domain = entry
        line = f'{name} = {{ default = {default}, domain = "{domain.format(name)}", doc = "…" }}'
        return _or(near, f"declare it under [hyperparameters]: `{line}`")
    if name in _STATES:
        return _or(near, f'declare it under [state]: `{name} = {{ init = 0, doc = "…" }}`')
    if name in _OPTIONS:
        return _or(near, f'declare it under [options]: `{name} = {{ default = false, doc = "…" }}`')
    if name in _INPUTS:
        return _or(near, f'declare it under [inputs]: `{name} = {{ {_INPUTS[name]}doc = "…" }}`')
    return near


def _or(near: str, declare: str) -> str:
    return f"{near} Or {declare}" if near else declare


def spelled_otherwise(name: str) -> str:
    """The built-in name that others write so, or ""."""
    match = _TIMES.match(name)
    base = match[1] if match else name
    found = BUILT_IN_SPELLINGS.get(name) or BUILT_IN_SPELLINGS.get(base)
    return found or (base if match and base in BUILT_IN else "")


def without_time(name: str, known: Collection[str]) -> str:
    """The known name that a name such as `m_t` or `m_prev` speaks of, or ""."""
    match = _TIMES.match(name)
    return match[1] if match and match[1] in known else ""


_LATEX_GREEK = {"eta": "lr", "lambda": "weight_decay", "epsilon": "eps", "varepsilon": "eps"}


def about_latex(command: str) -> str:
    """What to write in place of a command of LaTeX."""
    return {
        "frac": "`\\frac{a}{b}` is written `a/b`",
        "dfrac": "`\\frac{a}{b}` is written `a/b`",
        "tfrac": "`\\frac{a}{b}` is written `a/b`",
        "sqrt": "`\\sqrt{x}` is written `sqrt(x)`",
        "cdot": "products are written `x*y`",
        "times": "products are written `x*y`",
        "left": "leave it out",
        "right": "leave it out",
        "leftarrow": "assignments are written `=`",
        "gets": "assignments are written `=`",
        "nabla": "the gradient is `g`",
        "theta": "the parameter is `p`",
        "hat": "`\\hat{v}` is a name such as `v_hat`",
        "odot": "products are written `x*y`",
        "sum": _NO_REDUCTION[1],
        "text": "write the name alone",
        "operatorname": "write the name alone",
        "mathrm": "write the name alone",
    }.get(command, f"write a name such as `{_LATEX_GREEK.get(command, command)}`")
