"""The frozen model of a spec, filled once from its source.

No dictionary and no text to be parsed leaves this module; `load` either returns a spec that obeys
every rule of the language or raises all of its diagnostics at once.
"""

from __future__ import annotations

import itertools
import keyword
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from codegen.diagnostics import Diagnostic, Span, SpecError, nearest, order
from codegen.expression import (
    Apply,
    Expression,
    Name,
    Number,
    Statement,
    names,
    parse_expression,
    parse_rule,
)
from codegen.operations import FUNCTIONS
from codegen.source import KeyPath, Source, parse, read

_T = TypeVar("_T")
Options = Mapping[str, bool]
MAX_OPTIONS = 8
MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Interval:
    """The values a hyperparameter or state may have; infinite ends are always open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = True
    high_open: bool = True

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    @property
    def empty(self) -> bool:
        """Whether no number is inside."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A float64 number that may change from step to step."""

    name: str
    default: float
    domain: Interval
    domain_text: str
    doc: str
    span: Span


@dataclass(frozen=True, slots=True)
class Option:
    """A structural switch, fixed when a kernel is compiled; `when` limits where it has meaning."""

    name: str
    default: bool
    doc: str
    when: Expression | None
    when_text: str
    span: Span


@dataclass(frozen=True, slots=True)
class State:
    """What the optimizer remembers: a tensor like `p`, or one float64 if `scalar`."""

    name: str
    init: Expression
    scalar: bool
    domain: Interval
    doc: str
    when: Expression | None
    when_text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Torch:
    """How the `torch.optim` class looks from outside.

    Attributes:
        class_name: Name in `torch.optim`.
        arguments: Torch's argument → the names of the spec that make it up; a tuple if several.
        state: Name of a state → its key in `torch.optim`'s state.
        constants: Arguments that are fixed for this optimizer.
        switches: Option → hyperparameter that is zero when the option is off.
        zero_with: Option → hyperparameter that torch wants to be zero when the option is on.
    """

    class_name: str
    arguments: Mapping[str, tuple[str, ...]]
    state: Mapping[str, str]
    constants: Mapping[str, bool | float]
    switches: Mapping[str, str]
    zero_with: Mapping[str, str]


@dataclass(frozen=True)
class Spec:
    """One optimizer."""

    name: str
    title: str
    summary: str
    reference: str
    hyperparameters: tuple[Hyperparameter, ...]
    options: tuple[Option, ...]
    states: tuple[State, ...]
    rule: tuple[Statement, ...]
    torch: Torch | None
    source: Source = field(repr=False, compare=False)

    def option_sets(self) -> Iterator[dict[str, bool]]:
        """Every combination of options that the `when` conditions allow, defaults first."""
        choices = [(o.default, not o.default) for o in self.options]
        for values in itertools.product(*choices):
            options = dict(zip((o.name for o in self.options), values, strict=True))
            if all(not options[o.name] or holds(o.when, options) for o in self.options):
                yield options

    def active_states(self, options: Options) -> tuple[State, ...]:
        """The states that exist under these options."""
        return tuple(s for s in self.states if holds(s.when, options))


def holds(condition: Expression | None, options: Options) -> bool:
    """The value of a condition on options; None is always true."""
    match condition:
        case None:
            return True
        case Name(id=name):
            return options[name]
        case Apply(op="not", args=(inner,)):
            return not holds(inner, options)
        case Apply(op="and", args=(left, right)):
            return holds(left, options) and holds(right, options)
        case Apply(op="or", args=(left, right)):
            return holds(left, options) or holds(right, options)
        case _:
            raise ValueError(f"not a condition on options: {condition}")


def constant(expression: Expression, values: Mapping[str, float]) -> float:
    """The float64 value of an arithmetic expression of numbers and `values`.

    Raises:
        ArithmeticError: It has no finite value.
        KeyError: It holds an unknown name or an operation other than arithmetic.
    """
    match expression:
        case Number(value=value):
            return float(value)
        case Name(id=name):
            return values[name]
        case Apply(op="neg", args=(inner,)):
            return -constant(inner, values)
        case Apply(op=op, args=(left, right)):
            a, b = constant(left, values), constant(right, values)
            result = {
                "add": lambda: a + b,
                "sub": lambda: a - b,
                "mul": lambda: a * b,
                "div": lambda: a / b,
            }[op]()
            if not math.isfinite(result):
                raise OverflowError
            return result
        case _:
            raise KeyError(expression.op)


BUILT_IN = ("p", "g", "t")
_USED_BY_GENERATED_CODE = ["n", "state", "dtype", "real", "np", "tl", "triton", "math", "offsets", "block", "mask", "full", "pid", "program", "init", "step", "name", "shape", "tensor", "float", "int", "bool", "max", "min", "abs", "range", "len", "dict", "set", "str", "tuple", "list", "ValueError", "TypeError", "div", "sqrt", "square", "maximum", "minimum", "sign", "where", "inf", "nan", "pi", "True", "False", "None", "torch", "numpy", "self", "cls"]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z", re.ASCII)


def name_problem(name: str) -> tuple[str, str] | None:
    """Code and reason if a name cannot be used in generated code."""
    if not _NAME.match(name) or "__" in name or name.endswith("_ptr") or len(name) > 40:
        return "E013", "is not an allowed name"
    if name in BUILT_IN:
        return "E014", "is reserved: `p` parameter, `g` gradient, `t` step number"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "E014", "is a keyword of Python"
    if name in FUNCTIONS or name in _USED_BY_GENERATED_CODE or name == "BLOCK":
        return "E014", "is reserved: generated code uses it"
    return None


def load(path: Path, shown: str | None = None) -> tuple[Spec, list[Diagnostic]]:
    """Reads and checks a spec file.

    Args:
        path: The file.
        shown: The name that diagnostics use, by default the path itself.

    Returns:
        The spec and the warnings about it.

    Raises:
        SpecError: With every error of the file.
    """
    return from_source(read(path, shown), stem=path.stem)


def loads(text: str, shown: str = "<spec>") -> tuple[Spec, list[Diagnostic]]:
    """Like `load`, from text."""
    return from_source(parse(text, shown), stem=None)


def from_source(source: Source, stem: str | None) -> tuple[Spec, list[Diagnostic]]:
    """Builds the model and applies the semantic rules; see `load`."""
    from codegen import rules

    reader = _Reader(source)
    spec = reader.spec(stem)
    found = reader.out
    if not any(d.severity == "error" for d in found):
        found = [*found, *rules.check(spec)]
    found = order(found)
    if any(d.severity == "error" for d in found):
        raise SpecError(found)
    return spec, found


_TOP = (
    "name", "title", "summary", "reference", "hyperparameters", "options", "state", "rule", "torch",
)  # fmt: skip


class _Reader:
    """One pass over the values; collects every diagnostic."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.out: list[Diagnostic] = []

    def error(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        self.out.append(self.source.diagnostic(code, message, span, help))

    # Shapes of values.

    def table(
        self, data: dict[str, Any], path: KeyPath, known: Iterable[str], required: Iterable[str]
    ) -> dict[str, Any]:
        """The table at `path` after its keys were checked."""
        known = tuple(known)
        for key in data:
            if key not in known:
                span = self.source.key_span((*path, key))
                where = f" in `{'.'.join(path)}`" if path else ""
                help = nearest(key, known) or f"the keys are {', '.join(known)}"
                self.error("E010", f"unknown key `{key}`{where}", span, help)
        for key in required:
            if key not in data:
                where = f" in `{'.'.join(path)}`" if path else ""
                self.error("E011", f"`{key}` is missing{where}", self.source.key_span(path))
        return data

    def typed(
        self, data: dict[str, Any], path: KeyPath, key: str, kind: type[_T], default: _T
    ) -> _T:
        """A value of the given type, or the default after a diagnostic."""
        value = data.get(key, default)
        if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
            return value
        what = {str: "a text", bool: "true or false", dict: "a table"}[kind]
        span = self.source.value_span((*path, key))
        self.error("E012", f"`{key}` must be {what}", span)
        return default

    def text(self, data: dict[str, Any], path: KeyPath, key: str) -> str:
        """A line of text that can stand in a docstring."""
        value = self.typed(data, path, key, str, "")
        if key not in data or not isinstance(data[key], str):
            return ""
        span = self.source.value_span((*path, key))
        problems = {
            "is empty": not value.strip(),
            f"has more than {MAX_TEXT} characters": len(value) > MAX_TEXT,
            "holds a line break": "\n" in value or "\r" in value,
            "holds a triple quote": '"""' in value or "'''" in value,
            "holds a backslash": "\\" in value,
            "holds template braces": any(b in value for b in ("{{", "}}", "{%", "%}", "{#")),
            "holds a control character": any(not c.isprintable() for c in value if c not in "\n\r"),
            "ends with a quotation mark": value.endswith('"'),
        }
        for problem, found in problems.items():
            if found:
                self.error("E017", f"`{key}` {problem}", span, "write one line of plain text")
                break
        return value

    def new_name(self, name: str, path: KeyPath, seen: dict[str, str]) -> None:
        """Checks a declared name and that it is declared once."""
        span = self.source.key_span((*path, name))
        problem = name_problem(name)
        if problem:
            help = {"lambda": "write `lambda_`", "n": "write `n_t` or a longer name"}.get(name, "")
            self.error(problem[0], f"`{name}` {problem[1]}", span, help)
        elif name in seen:
            self.error("E016", f"`{name}` is declared twice, first as {seen[name]}", span)
        seen[name] = {"hyperparameters": "hyperparameter", "options": "option"}.get(
            path[0], "state"
        )

    def condition(
        self, data: dict[str, Any], path: KeyPath, options: Iterable[str]
    ) -> tuple[Expression | None, str]:
        """A `when` value: a condition on the options declared so far."""
        text = self.typed(data, path, "when", str, "")
        if "when" not in data or not text:
            return None, ""
        where = (*path, "when")
        parsed = parse_expression(self.source, where, text, self.out)
        if parsed is None:
            return None, ""
        for name in names(parsed):
            if name.id not in options:
                help = nearest(name.id, options)
                self.error("E151", f"`{name.id}` is not an option declared above", name.span, help)
                return None, ""
        if not is_option_condition(parsed):
            message = "`when` must be a condition on options"
            self.error("E151", message, parsed.span, "use option names, `and`, `or`, `not`")
            return None, ""
        return parsed, " ".join(text.split())

    def domain(self, data: dict[str, Any], path: KeyPath) -> tuple[Interval, str]:
        """A `domain` value: an interval, written as comparisons of the name with numbers."""
        text = self.typed(data, path, "domain", str, "")
        if not text:
            return Interval(), ""
        where, name = (*path, "domain"), path[-1]
        parsed = parse_expression(self.source, where, text, self.out)
        if parsed is None:
            return Interval(), ""
        other = [n for n in names(parsed) if n.id != name]
        if other:
            message = f"the domain of `{name}` speaks about `{other[0].id}`"
            self.error("E143", message, other[0].span, f"write it about `{name}`")
            return Interval(), ""
        try:
            interval = _interval(parsed, name)
        except (ValueError, KeyError, ArithmeticError):
            message = f"cannot read the domain of `{name}`"
            help = f"write for example `0 <= {name} < 1` or `{name} > 0`"
            self.error("E140", message, self.source.value_span(where), help)
            return Interval(), ""
        if interval.empty:
            message = f"the domain of `{name}` is empty"
            self.error("E142", message, self.source.value_span(where))
        return interval, " ".join(text.split())

    # The sections, in the order of the file.

    def spec(self, stem: str | None) -> Spec:
        data = self.table(
            self.source.data, (), _TOP, ("name", "title", "summary", "reference", "rule")
        )
        name = self.name(data, stem)
        seen: dict[str, str] = {}
        hyperparameters = tuple(self.hyperparameters(data, seen))
        options = tuple(self.options(data, seen))
        states = tuple(self.states(data, seen, hyperparameters, options))
        return Spec(
            name=name,
            title=self.text(data, (), "title"),
            summary=self.text(data, (), "summary"),
            reference=self.text(data, (), "reference"),
            hyperparameters=hyperparameters,
            options=options,
            states=states,
            rule=self.rule(data),
            torch=self.torch(data, hyperparameters, options, states),
            source=self.source,
        )

    def name(self, data: dict[str, Any], stem: str | None) -> str:
        name = self.typed(data, (), "name", str, "")
        if not isinstance(data.get("name"), str):
            return name
        span = self.source.value_span(("name",))
        if problem := name_problem(name):
            help = "the name becomes a file name and a Python module"
            self.error(problem[0], f"`{_short(name)}` {problem[1]}", span, help)
        elif stem is not None and name != stem:
            message = f"the spec is named `{name}` but its file `{_short(stem)}.toml`"
            self.error("E015", message, span, f"rename the file to `{name}.toml`")
        return name

    def entries(self, data: dict[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
        table = self.typed(data, (), section, dict, {})
        for name, entry in table.items():
            if isinstance(entry, dict):
                yield name, entry
            else:
                example = {"options": "false", "state": "0"}.get(section, "0.9")
                key = "init" if section == "state" else "default"
                help = f'write `{name} = {{ {key} = {example}, doc = "…" }}`'
                span = self.source.value_span((section, name))
                self.error("E012", f"`{name}` must be a table", span, help)

    def hyperparameters(
        self, data: dict[str, Any], seen: dict[str, str]
    ) -> Iterator[Hyperparameter]:
        for name, entry in self.entries(data, "hyperparameters"):
            path = ("hyperparameters", name)
            self.new_name(name, ("hyperparameters",), seen)
            self.table(entry, path, ("default", "domain", "doc"), ("default", "doc"))
            domain, domain_text = self.domain(entry, path)
            default = entry.get("default", 0.0)
            span = self.source.value_span((*path, "default"))
            if isinstance(default, bool) or not isinstance(default, int | float):
                message = f"the default of `{name}` must be a number"
                help = "numbers are written without quotes" if isinstance(default, str) else ""
                self.error("E150", message, span, help)
                default = 0.0
            elif not _finite(default):
                self.error("E150", f"the default of `{name}` must be finite", span)
                default = 0.0
            elif "default" in entry and float(default) not in domain and not domain.empty:
                message = f"the default of `{name}` is outside its domain `{domain_text}`"
                self.error("E141", message, span)
            place = self.source.key_span(path) or Span(1, 1, 2)
            doc = self.text(entry, path, "doc")
            yield Hyperparameter(name, float(default), domain, domain_text, doc, place)

    def options(self, data: dict[str, Any], seen: dict[str, str]) -> Iterator[Option]:
        above: list[str] = []
        for name, entry in self.entries(data, "options"):
            path = ("options", name)
            self.new_name(name, ("options",), seen)
            self.table(entry, path, ("default", "doc", "when"), ("default", "doc"))
            default = entry.get("default", False)
            if not isinstance(default, bool):
                message = f"the default of option `{name}` must be true or false"
                span = self.source.value_span((*path, "default"))
                self.error("E150", message, span, "a number is a hyperparameter")
                default = False
            when, when_text = self.condition(entry, path, above)
            above.append(name)
            place = self.source.key_span(path) or Span(1, 1, 2)
            doc = self.text(entry, path, "doc")
            yield Option(name, default, doc, when, when_text, place)
        if len(above) > MAX_OPTIONS:
            message = f"{len(above)} options, the limit is {MAX_OPTIONS}"
            self.error("E152", message, self.source.key_span(("options",)))

    def states(
        self,
        data: dict[str, Any],
        seen: dict[str, str],
        hyperparameters: tuple[Hyperparameter, ...],
        options: tuple[Option, ...],
    ) -> Iterator[State]:
        defaults = {h.name: h.default for h in hyperparameters}
        for name, entry in self.entries(data, "state"):
            path = ("state", name)
            self.new_name(name, ("state",), seen)
            known = ("init", "domain", "doc", "when", "scalar")
            self.table(entry, path, known, ("init", "doc"))
            domain, domain_text = self.domain(entry, path)
            when, when_text = self.condition(entry, path, [o.name for o in options])
            init = self.init(entry, path, defaults)
            place = self.source.key_span(path) or Span(1, 1, 2)
            if "init" in entry and not domain.empty:
                try:
                    inside = constant(init, defaults) in domain
                except (ArithmeticError, KeyError):
                    inside = True  # reported by `init`
                if not inside:
                    span = self.source.value_span((*path, "init"))
                    message = f"the initial value of `{name}` is outside its domain `{domain_text}`"
                    self.error("E144", message, span)
            scalar = self.typed(entry, path, "scalar", bool, False)
            doc = self.text(entry, path, "doc")
            yield State(name, init, scalar, domain, doc, when, when_text, place)

    def init(self, entry: dict[str, Any], path: KeyPath, defaults: dict[str, float]) -> Expression:
        value, where = entry.get("init", 0), (*path, "init")
        span = self.source.value_span(where) or Span(1, 1, 2)
        zero = Number("0", Fraction(0), span)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            message = f"the initial value of `{path[-1]}` must be a number"
            self.error("E145", message, span)
            return zero
        if not isinstance(value, str):
            if not _finite(value):
                self.error("E145", f"the initial value of `{path[-1]}` must be finite", span)
                return zero
            number = Number(repr(abs(value)), Fraction(repr(abs(value))), span)
            return Apply("neg", (number,), span) if value < 0 else number
        parsed = parse_expression(self.source, where, value, self.out)
        if parsed is None:
            return zero
        for name in names(parsed):
            if name.id not in defaults:
                message = f"`{name.id}` is not a hyperparameter"
                self.error("E145", message, name.span, nearest(name.id, defaults))
                return zero
        try:
            constant(parsed, defaults)
        except KeyError:
            message = "an initial value is an expression of numbers and hyperparameters"
            self.error("E145", message, parsed.span, "use `+ - * /`")
        except ArithmeticError:
            message = f"the initial value of `{path[-1]}` is not finite at the defaults"
            self.error("E145", message, parsed.span)
        return parsed

    def rule(self, data: dict[str, Any]) -> tuple[Statement, ...]:
        table = self.typed(data, (), "rule", dict, {})
        if "rule" not in data or not isinstance(data["rule"], dict):
            return ()
        self.table(table, ("rule",), ("update",), ("update",))
        text = self.typed(table, ("rule",), "update", str, "")
        if not isinstance(table.get("update"), str):
            return ()
        return parse_rule(self.source, ("rule", "update"), text, self.out)

    def torch(
        self,
        data: dict[str, Any],
        hyperparameters: tuple[Hyperparameter, ...],
        options: tuple[Option, ...],
        states: tuple[State, ...],
    ) -> Torch | None:
        if "torch" not in data:
            return None
        table = self.typed(data, (), "torch", dict, {})
        if not table:
            return None
        path: KeyPath = ("torch",)
        known = ("class", "arguments", "state", "constants", "switches", "zero_with")
        self.table(table, path, known, ("class",))
        name = self.typed(table, path, "class", str, "Optimizer")
        if not _NAME.match(name) or keyword.iskeyword(name):
            message = f"`{_short(name)}` is not the name of a class"
            self.error("E161", message, self.source.value_span(("torch", "class")))
        tunable = [h.name for h in hyperparameters]
        switchable = [o.name for o in options]
        arguments = {
            key: tuple(value) if isinstance(value, list) else (value,)
            for key, value in self.torch_table(table, "arguments").items()
        }
        state = self.torch_table(table, "state")
        constants = self.torch_table(table, "constants")
        switches = self.torch_table(table, "switches")
        zero_with = self.torch_table(table, "zero_with")
        for key, parts in arguments.items():
            self.known(("torch", "arguments", key), parts, [*tunable, *switchable])
        for key, value in state.items():
            self.known(("torch", "state", key), (key,), [s.name for s in states])
            self.identifier(("torch", "state", key), value)
        for key, value in constants.items():
            if not isinstance(value, bool | int | float):
                span = self.source.value_span(("torch", "constants", key))
                self.error("E012", f"`{key}` must be a number, true or false", span)
        for section, pairs in (("switches", switches), ("zero_with", zero_with)):
            for key, value in pairs.items():
                self.known(("torch", section, key), (key,), switchable)
                self.known(("torch", section, key), (value,), tunable)
        return Torch(name, arguments, state, constants, switches, zero_with)

    def torch_table(self, table: dict[str, Any], key: str) -> dict[str, Any]:
        return self.typed(table, ("torch",), key, dict, {})

    def identifier(self, path: KeyPath, value: object) -> None:
        if not isinstance(value, str) or not _NAME.match(value):
            message = f"`{path[-1]}` must be the name of one of torch's states"
            self.error("E160", message, self.source.value_span(path))

    def known(self, path: KeyPath, parts: tuple[Any, ...], candidates: list[str]) -> None:
        for part in parts:
            if not isinstance(part, str) or part not in candidates:
                help = nearest(part, candidates) if isinstance(part, str) else ""
                help = help or f"there are {', '.join(candidates) or 'none'}"
                message = f"`{path[1]}` names `{_short(str(part))}`, which the spec does not have"
                self.error("E160", message, self.source.value_span(path), help)


def is_option_condition(expression: Expression) -> bool:
    """Whether it is made of names, `and`, `or`, `not` alone."""
    if isinstance(expression, Apply):
        connective = expression.op in ("and", "or", "not")
        return connective and all(is_option_condition(a) for a in expression.args)
    return isinstance(expression, Name)


def _interval(condition: Expression, name: str) -> Interval:
    """The interval of comparisons of `name` with numbers; ValueError when it is none."""
    if not isinstance(condition, Apply):
        raise ValueError
    if condition.op == "and":
        left, right = (_interval(part, name) for part in condition.args)
        low = max((left.low, left.low_open), (right.low, right.low_open))
        high = min((left.high, not left.high_open), (right.high, not right.high_open))
        return Interval(low[0], high[0], low[1], not high[1])
    if condition.op not in ("lt", "le", "gt", "ge"):
        raise ValueError
    first, second = condition.args
    below = condition.op in ("lt", "le")
    if isinstance(second, Name):
        first, second, below = second, first, not below
    if not isinstance(first, Name):
        raise ValueError
    bound, is_open = constant(second, {}), condition.op in ("lt", "gt")
    return Interval(high=bound, high_open=is_open) if below else Interval(bound, low_open=is_open)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _short(text: str) -> str:
    shown = text if text.isprintable() else repr(text)[1:-1]
    return shown if len(shown) <= 40 else shown[:39] + "…"
