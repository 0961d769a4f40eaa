"""Random specs that obey the rules of the language, from all of its parts.

Names are chosen to be awkward: those that SymPy owns, and those that lowering makes up itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from stepforge.fuzz.draft import Draft
from stepforge.fuzz.expressions import Expressions, Piece, Variable
from stepforge.language.names import name_problem
from stepforge.operations.draws import Sign
from stepforge.operations.operation import PRODUCT, SUM

_AWKWARD = (
    "beta", "gamma", "zeta", "S", "N", "I", "E", "O", "Q", "base", "base_2", "one_minus_beta",
    "p_factor", "p_condition", "g_hat", "x", "y", "k", "i", "value", "other", "key", "args", "data",
    "eps_", "lr_2", "minus_lr", "beta1_to_t", "sqrt_v", "v_max", "m_over_v", "result", "grad",
    "out", "float32", "number", "zero", "one", "e", "d", "u", "w", "h", "q", "r", "s", "z", "a",
    "b", "c", "theta", "mu", "nu", "rho", "delta", "kappa", "abs_g", "sign_m", "t_2", "lam",
)  # fmt: skip
NAMES = tuple(name for name in _AWKWARD if name_problem(name) is None)
SWITCHES = ("maximize", "amsgrad", "nesterov", "decoupled", "clipped", "centred")
_HYPERPARAMETERS: tuple[tuple[str, str, Sign, tuple[object, ...]], ...] = (
    ("lr", "{0} >= 0", Sign.NONNEGATIVE, (1e-3, 0.1, 1)),
    ("beta1", "0 <= {0} < 1", Sign.NONNEGATIVE, (0.9, 0.0, 0.5)),
    ("eps", "{0} > 0", Sign.POSITIVE, (1e-8, 1e-4)),
    ("beta2", "0 <= {0} and {0} < 1", Sign.NONNEGATIVE, (0.999, 0.99)),
    ("weight_decay", "0 <= {0}", Sign.NONNEGATIVE, (0, 0.01)),
    ("shift", "", Sign.ANY, (-0.5, 0, 2.5)),
    ("bound", "-1 <= {0} <= 1", Sign.ANY, (-0.25, 1.0)),
    ("scale", "0 < {0} <= 8", Sign.POSITIVE, (1, 0.125, 8)),
)
INPUTS = 0.15
"""How often a spec has an input that is a tensor, and one that is a number."""


def draft(rng: np.random.Generator, name: str) -> Draft:
    """A random spec."""
    return _Spec(rng, name).draft()


class _Spec:
    """One spec while it is made up: declarations first, then statement by statement."""

    def __init__(self, rng: np.random.Generator, name: str) -> None:
        self.rng = rng
        self.name = name
        self.unused = list(rng.permutation(np.array(NAMES)))
        self.options = self.declare_options()
        wild = 0.2 if rng.random() < 0.2 else 0.0
        self.make = Expressions(rng, list(self.options), _apart(self.options), wild)
        self.hyperparameters = self.declare_hyperparameters()
        self.states = self.declare_states()
        self.inputs = self.declare_inputs()
        self.pending = [s for s in self.states if not self.when(s)]
        """States that have no assignment yet."""

    def number(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def new_name(self) -> str:
        return str(self.unused.pop())

    def when(self, state: str) -> str:
        return str(self.states[state].get("when", ""))

    # Declarations.

    def declare_options(self) -> dict[str, dict[str, object]]:
        count = (0, 0, 1, 1, 2, 2, 3, 4)[self.number(0, 7)]
        names = [str(n) for n in self.rng.permutation(np.array(SWITCHES))[:count]]
        entries: dict[str, dict[str, object]] = {}
        for index, name in enumerate(names):
            entries[name] = {"default": bool(self.rng.random() < 0.3)}
            if index and self.rng.random() < 0.25:
                word = "" if self.rng.random() < 0.6 else "not "
                entries[name] |= {
                    "default": False,
                    "when": f"{word}{names[self.number(0, index - 1)]}",
                }
        return entries

    def declare_hyperparameters(self) -> dict[str, dict[str, object]]:
        entries: dict[str, dict[str, object]] = {}
        count = self.number(1, len(_HYPERPARAMETERS) - 2)
        for index in sorted(self.rng.permutation(len(_HYPERPARAMETERS))[:count]):
            usual, domain, sign, defaults = _HYPERPARAMETERS[index]
            name = usual if self.make.chance(0.6) else self.new_name()
            entries[name] = {"default": defaults[self.number(0, len(defaults) - 1)]}
            if domain:
                entries[name]["domain"] = domain.format(name)
            below_one = domain.endswith("< 1")
            self.bring(Variable(name, tensor=False, sign=sign, below_one=below_one))
        return entries

    def declare_states(self) -> dict[str, dict[str, object]]:
        entries: dict[str, dict[str, object]] = {}
        hidden: list[Variable] = []
        known = list(self.make.scope.values())
        for name in ("p", "g"):
            self.bring(Variable(name, tensor=True))
        for _ in range((0, 1, 1, 2, 2, 3, 4)[self.number(0, 6)]):
            name = self.new_name()
            scalar = self.make.chance(0.2)
            sign = Sign.NONNEGATIVE if self.make.chance(0.45) else Sign.ANY
            is_copy = not scalar and not sign and self.make.chance(0.15)
            entry: dict[str, object] = {"init": "p" if is_copy else self.init(sign, known)}
            if sign:
                entry["domain"] = f"{name} >= 0"
            if scalar:
                entry["scalar"] = True
            variable = Variable(name, tensor=not scalar, sign=sign)
            if self.options and self.make.chance(0.3):
                entry["when"] = self.make.switch().text
                variable = replace(variable, when=str(entry["when"]))
            entries[name] = entry
            if variable.when:
                hidden.append(variable)
            else:
                self.bring(variable)
        self.bring(Variable("t", tensor=False, sign=Sign.POSITIVE))
        self.make.elsewhere = tuple(v for v in hidden if v.tensor)
        self.hidden = {v.name: v for v in hidden}
        return entries

    def declare_inputs(self) -> dict[str, dict[str, object]]:
        """Of some specs; with random numbers of their own, so that others are as without any."""
        (rng,) = self.rng.spawn(1)
        entries: dict[str, dict[str, object]] = {}
        for scalar in (False, True):
            if rng.random() < INPUTS:
                name = self.new_name()
                entries[name] = {"scalar": True} if scalar else {}
                sign = Sign.NONNEGATIVE if rng.random() < 0.4 else Sign.ANY
                if sign:
                    entries[name]["domain"] = f"{name} >= 0"
                self.bring(Variable(name, tensor=not scalar, sign=sign))
        return entries

    def init(self, sign: Sign, known: Iterable[Variable]) -> object:
        """A number, or an expression of hyperparameters."""
        names = [v.name for v in known if v.sign >= sign]
        if names and self.make.chance(0.25):
            forms = ("{0}", "{0} + 1", "0.5*{0}", "({0} + {1})/2", "{0}*{1}")
            first, second = (self.make.one(names) for _ in range(2))
            return self.make.one(forms).format(first, second)
        numbers = (0, 0, 0, 1, 0.5, 1e-3, 0.1) + (() if sign else (-1, -0.25))
        return numbers[self.number(0, len(numbers) - 1)]

    def bring(self, variable: Variable) -> None:
        self.make.scope[variable.name] = variable

    # Statements.

    def draft(self) -> Draft:
        lines: list[str] = []
        if "maximize" in self.options and self.make.chance(0.8):
            lines += ["if maximize:", "    g = -g"]
        for name, entry in self.inputs.items():
            if not entry.get("scalar") and self.make.chance(0.3):
                lines.append(f"{name} = abs({name})")
        for _ in range(self.number(1, 6)):
            lines += self.statement()
        for name in list(self.pending):
            lines += self.update(name)
        for state in self.hidden.values():
            lines += self.guarded(state)
        lines += self.last(lines)
        made = self.so_far(lines)
        return replace(made, hyperparameters=self.read_alone(made))

    def so_far(self, lines: Sequence[str]) -> Draft:
        rule = "\n".join(lines)
        sections = self.hyperparameters, self.options, self.states
        return Draft(self.name, *sections, rule, self.inputs)

    def read_alone(self, made: Draft) -> dict[str, dict[str, object]]:
        read = made.reads()
        return {name: entry for name, entry in self.hyperparameters.items() if name in read}

    def statement(self) -> list[str]:
        """One statement, or a block, of any kind."""
        kind = self.rng.random()
        if self.pending and kind < 0.3:
            return self.update(self.pending[self.number(0, len(self.pending) - 1)])
        if kind < 0.5 and (self.options or kind < 0.35):
            return self.block()
        if kind < 0.58:
            return [self.assign(self.make.scope["g"])]
        if kind < 0.66:
            return [self.assign(self.make.scope["p"])]
        if kind < 0.74 and (locals_ := self.locals()):
            return [self.assign(locals_[self.number(0, len(locals_) - 1)], retype=True)]
        return [self.assign(self.new_local(), retype=True)]

    def locals(self) -> list[Variable]:
        declared = {"p", "g", "t", *self.hyperparameters, *self.states, *self.inputs}
        return [v for v in self.make.scope.values() if v.name not in declared]

    def new_local(self) -> Variable:
        return Variable(self.new_name(), tensor=self.make.chance(0.7))

    def assign(self, variable: Variable, retype: bool = False) -> str:
        """An assignment; a local may get another kind and sign by it."""
        if retype:
            sign = (Sign.ANY, Sign.ANY, Sign.NONNEGATIVE, Sign.POSITIVE)[self.number(0, 3)]
            tensor = variable.tensor if self.make.chance(0.85) else not variable.tensor
            variable = replace(variable, sign=sign, tensor=tensor)
        value = self.make.number(self.number(1, 4), variable.tensor, variable.sign)
        if variable.tensor and self.make.chance(0.03) and variable.name in self.make.scope:
            value = self.make.leaf(tensor=False, sign=variable.sign)
            variable = replace(variable, tensor=not retype)
        if variable.name == "g":
            value = self.along_gradient(value)
        self.bring(variable)
        comment = "  # random" if self.make.chance(0.05) else ""
        return f"{variable.name} = {value.text}{comment}"

    def update(self, state: str) -> list[str]:
        """The new value of a state that always exists, mostly from its old one."""
        self.pending = [s for s in self.pending if s != state]
        return [self.new_value(self.make.scope[state])]

    def new_value(self, state: Variable) -> str:
        """An average of the old value and something new, or anything."""
        if self.make.chance(0.25):
            return self.assign(state)
        decays = [v.name for v in self.make.scope.values() if v.below_one]
        decay = Piece(self.make.one(decays) if decays else "0.9")
        old = self.make.infix(decay, "*", Piece(state.name), PRODUCT)
        new = self.make.number(self.number(1, 3), state.tensor, state.sign)
        rest = self.make.infix(Piece("1"), "-", decay, SUM)
        share = self.make.infix(rest, "*", new, PRODUCT)
        if self.make.chance(0.2):
            return f"{state.name} = {self.make.call('max', old, new).text}"
        left, right = (old, share) if self.make.chance(0.85) else (share, old)
        return f"{state.name} = {self.make.infix(left, '+', right, SUM).text}"

    def block(self) -> list[str]:
        """`if`, perhaps `elif` and `else`; a local has a value after it only if all have it."""
        before, unused = dict(self.make.scope), self.pending
        heads = [f"if {self.condition()}:"]
        heads += [f"elif {self.condition()}:"] if self.make.chance(0.25) else []
        heads += ["else:"] if self.make.chance(0.5) else []
        common = [self.new_local()] if heads[-1] == "else:" and self.make.chance(0.5) else []
        lines: list[str] = []
        ends: list[dict[str, Variable]] = [] if heads[-1] == "else:" else [before]
        for head in heads:
            self.make.scope, self.pending = dict(before), []
            inside = [self.assign(v, retype=True) for v in common]
            for _ in range(self.number(0 if inside else 1, 2)):
                inside += self.statement_inside()
            inside += self.unread(inside, before, common)
            lines += [head, *(f"    {line}" for line in inside)]
            ends.append(self.make.scope)
        self.make.scope, self.pending = _joined(ends), unused
        return lines

    def condition(self) -> str:
        """A condition of a block: on options, or on host scalars."""
        if self.options and self.make.chance(0.6):
            return self.make.switch().text
        return self.make.condition(self.number(0, 1), tensor=False).text

    def unread(
        self, inside: Sequence[str], before: dict[str, Variable], common: Iterable[Variable]
    ) -> list[str]:
        """Reads the locals that end with their branch, where nothing else does."""
        kept = {*before, *(v.name for v in common), *self.so_far(inside).reads()}
        lost = [name for name in self.make.scope if name not in kept]
        return [f"{self.make.one(('p', 'g'))} = p - {name}*g" for name in lost]

    def statement_inside(self) -> list[str]:
        if self.options and self.make.chance(0.1):
            return self.block()
        existing = [
            v
            for v in self.make.scope.values()
            if v.name not in (*self.hyperparameters, *self.inputs, "t")
        ]
        if self.make.chance(0.2):
            return [self.assign(self.new_local(), retype=True)]
        chosen = existing[self.number(0, len(existing) - 1)]
        return [self.assign(chosen, retype=chosen in self.locals())]

    def guarded(self, state: Variable) -> list[str]:
        """The new value of a state that exists under a condition, and something that reads it."""
        before = dict(self.make.scope)
        self.bring(state)
        lines = [f"if {state.when}:", f"    {self.new_value(state)}"]
        if self.make.chance(0.5):
            lines.append(f"    {self.assign(self.make.scope['g'])}")
        self.make.scope = before
        return lines

    def last(self, before: Sequence[str]) -> list[str]:
        """What nothing has read so far moves `p`; then a step along the gradient."""
        read = self.so_far(before).reads()
        lines: list[str] = []
        for name in (name for name in self.options if name not in read):
            left, right = (self.make.number(1, tensor=True) for _ in range(2))
            chosen = self.make.choice(Piece(name), left, right)
            lines.append(f"p = p + {self.make.within(chosen, PRODUCT)}")
        for variable in (*self.make.scope.values(), *self.hidden.values()):
            declared = variable.name in ("p", "g", "t", *self.hyperparameters)
            if declared or variable.name in read:
                continue
            if variable.when:
                lines += [f"if {variable.when}:", f"    p = p - 0.1*{variable.name}"]
            else:
                lines.append(f"p = p - {self.make.leaf(tensor=False).text}*{variable.name}")
        rate = self.make.number(self.number(0, 2), tensor=False)
        step = self.along_gradient(self.make.number(self.number(1, 4), tensor=True))
        product = self.make.infix(rate, "*", step, PRODUCT)
        return [*lines, f"p = {self.make.infix(Piece('p'), '-', product, SUM).text}"]

    def along_gradient(self, value: Piece) -> Piece:
        """Something that depends on the gradient."""
        gradient = Piece("g")
        kind = self.number(0, 3)
        if kind == 0:
            return self.make.call(self.make.one(("min", "max")), value, gradient)
        symbol, level = (("+", SUM), ("-", SUM), ("*", PRODUCT))[kind - 1]
        left, right = (value, gradient) if self.make.chance(0.5) else (gradient, value)
        return self.make.infix(left, symbol, right, level)


def _joined(ends: Sequence[dict[str, Variable]]) -> dict[str, Variable]:
    """The names that all ends of a block have, with what holds at each of them."""
    first, *others = ends
    joined = {}
    for name, variable in first.items():
        if all(name in other for other in others):
            same = [variable, *(other[name] for other in others)]
            joined[name] = replace(
                variable,
                tensor=any(v.tensor for v in same),
                sign=min(v.sign for v in same),
                below_one=all(v.below_one for v in same),
            )
    return joined


def _apart(options: Mapping[str, Mapping[str, object]]) -> set[frozenset[str]]:
    """The pairs of options that are never on together; each needs one other on, off, or nothing."""
    needed: dict[str, dict[str, bool]] = {}
    for name, entry in options.items():
        *negated, other = str(entry.get("when", "")).split(" ")
        above = {} if negated or not other else needed[other]
        needed[name] = {name: True, **above, **({other: not negated} if other else {})}
    return {
        frozenset(pair)
        for pair in itertools.combinations(needed, 2)
        if any(needed[pair[0]].get(o, on) is not on for o, on in needed[pair[1]].items())
    }
