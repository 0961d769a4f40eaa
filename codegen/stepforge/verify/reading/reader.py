"""The text of a spec, read by Python's own parsers.

What is generated comes from `language`, which has positions, messages and limits. A fault there
would be in every file, and in a judge that asked `language` what the rule says. So what judges asks
here: `tomllib` and `ast` read the text again, with a table of their own of what operators mean, and
with their own answers to which names are tensors and what a constant is. `agreement`
compares what both have read.
"""

from __future__ import annotations

import ast
import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache, reduce
from typing import Any

from stepforge.language.spec import Spec
from stepforge.verify.reading.tree import (
    Apply,
    Assign,
    Expression,
    If,
    Name,
    Number,
    Options,
    Statement,
    compared,
    everything,
    holds,
    names,
    operations,
    power,
    straight,
)

_OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Mod: "mod",
    ast.Pow: "pow", ast.USub: "neg", ast.Not: "not", ast.And: "and", ast.Or: "or",
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_PI = Number(Fraction(math.pi))
"""The float64 number; what `pi` means where nothing else has the name."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The numbers between two ends, each of them part of it or not."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = True
    high_open: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered: a tensor, perhaps of the type of `p`, or one number of the host."""

    name: str
    init: Expression
    scalar: bool
    when: Expression | None
    domain: Domain
    has_p_type: bool


@dataclass(frozen=True, slots=True)
class Input:
    """What every step is given beside the gradient: a tensor like it, or one number of the host."""

    name: str
    scalar: bool
    domain: Domain


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that a kernel is given.

    Attributes:
        name: Its name.
        loaded: Whether its old value is read under any options.
        stored: Whether a step writes it.
        role: What it is, "p", "g" or "state", which its type follows from; inputs are as `g`,
            and states of the type of `p` are as that.
    """

    name: str
    loaded: bool
    stored: bool
    role: str


@dataclass(frozen=True)
class Reading:
    """What the text of a spec says.

    Attributes:
        defaults: Of the hyperparameters.
        domains: Of the hyperparameters.
        usual: The part of a domain that is usual.
        options: Their defaults.
        when: The condition of every option that has one.
        states: In the order of the text; without those that the rule has no use for.
        inputs: In the order of the text; without those that the rule has no use for.
        rule: The statements.
    """

    defaults: Mapping[str, float]
    domains: Mapping[str, Domain]
    usual: Mapping[str, Domain]
    options: Options
    when: Mapping[str, Expression]
    states: tuple[State, ...]
    inputs: tuple[Input, ...]
    rule: tuple[Statement, ...]

    @property
    def numbers(self) -> list[str]:
        """The numbers of the host that a step is given: hyperparameters and inputs."""
        return [*self.defaults, *(i.name for i in self.inputs if i.scalar)]

    def active_states(self, options: Options) -> tuple[State, ...]:
        """The states that exist under these options."""
        return tuple(s for s in self.states if holds(s.when, options))

    def option_sets(self) -> Iterator[dict[str, bool]]:
        """Every combination that the conditions allow, defaults first."""
        for flips in itertools.product((False, True), repeat=len(self.options)):
            flipped = zip(self.options.items(), flips, strict=True)
            chosen = {name: default != flip for (name, default), flip in flipped}
            if all(holds(self.when.get(name), chosen) for name, on in chosen.items() if on):
                yield chosen

    def straight(self, options: Options) -> list[Assign]:
        """The assignments that may run under these options."""
        return list(straight(self.rule, options))

    @property
    def functions(self) -> set[str]:
        """The operations that tensors have; of powers those that no product or root computes."""
        found = set()
        for s in everything(self.rule):
            for part in operations(s.value if isinstance(s, Assign) else s.condition):
                is_tensor = not s.before.isdisjoint(names(part))
                if is_tensor and (part.op != "pow" or power(part.args[1], is_tensor) is None):
                    found.add(part.op)
        return found

    def tensors(self, options: Options | None = None) -> tuple[Tensor, ...]:
        """`p`, `g`, inputs and states, of an option set or all of them."""
        read = self._read_first
        active = self.states if options is None else self.active_states(options)
        roles = {"p": "p", "g": "g", **{i.name: "g" for i in self.inputs if not i.scalar}}
        roles |= {s.name: "p" if s.has_p_type else "state" for s in active if not s.scalar}
        return tuple(Tensor(n, n in read, role != "g", role) for n, role in roles.items())

    @cached_property
    def _read_first(self) -> set[str]:
        """The names whose old value some options read, or keep on some path."""
        found: set[str] = set()
        for options in self.option_sets():
            assigned: set[str] = set()
            found |= _read_early(self.rule, options, assigned)
            found |= {"p", *(s.name for s in self.active_states(options))} - assigned
        return found


def _read_early(statements: Sequence[Statement], options: Options, assigned: set[str]) -> set[str]:
    """Names that are read where they may not be assigned yet; adds those that surely are."""
    found: set[str] = set()
    for s in statements:
        if isinstance(s, Assign):
            found |= set(_taken(s.value, options)) - assigned
            assigned.add(s.name)
            continue
        choice = holds(s.condition, options)
        if choice is not None:
            found |= _read_early(s.body if choice else s.orelse, options, assigned)
            continue
        found |= set(_taken(s.condition, options)) - assigned
        arms = set(assigned), set(assigned)
        found |= _read_early(s.body, options, arms[0])
        found |= _read_early(s.orelse, options, arms[1])
        assigned |= arms[0] & arms[1]
    return found


def _taken(e: Expression, options: Options) -> Iterator[str]:
    """The names that an expression reads under these options."""
    choice = holds(e.args[0], options) if isinstance(e, Apply) and e.op == "select" else None
    if choice is not None:
        assert isinstance(e, Apply)
        yield from _taken(e.args[1 if choice else 2], options)
    elif isinstance(e, Apply):
        for argument in e.args:
            yield from _taken(argument, options)
    else:
        yield from names(e)


def of(spec: Spec) -> Reading:
    """What the text of a spec says, of the spec's source alone."""
    return read(spec.source.text)


@lru_cache(maxsize=64)
def read(text: str) -> Reading:
    """Reads the text of a spec that `language` has accepted."""
    data = tomllib.loads(text)
    hyperparameters: dict[str, Any] = data.get("hyperparameters", {})
    options: dict[str, Any] = data.get("options", {})
    domains = {name: _domain(entry.get("domain")) for name, entry in hyperparameters.items()}
    declared = {
        name: State(
            name, _init(entry["init"]), entry.get("scalar", False), _condition(entry.get("when")),
            _domain(entry.get("domain")), entry.get("dtype") == "p",
        )
        for name, entry in data.get("state", {}).items()
    }  # fmt: skip
    inputs = {
        name: Input(name, entry.get("scalar", False), _domain(entry.get("domain")))
        for name, entry in data.get("inputs", {}).items()
    }
    is_schedule = "update" not in data["rule"]
    update = data["rule"]["factor" if is_schedule else "update"]
    tensors = set() if is_schedule else {"p", "g"}
    tensors |= {s.name for s in declared.values() if not s.scalar}
    tensors |= {i.name for i in inputs.values() if not i.scalar}
    known = {"t", *tensors, *hyperparameters, *options, *declared, *inputs}
    reader = _Rule(update, tensors, known)
    used = {name for s in everything(reader.rule) for name in _mentioned(s)}
    return Reading(
        {name: float(entry["default"]) for name, entry in hyperparameters.items()},
        domains,
        {
            name: _domain(entry["usual"]) if "usual" in entry else domains[name]
            for name, entry in hyperparameters.items()
        },
        {name: bool(entry["default"]) for name, entry in options.items()},
        {n: c for n, e in options.items() if (c := _condition(e.get("when"))) is not None},
        tuple(s for s in declared.values() if s.name in used),
        tuple(i for i in inputs.values() if i.name in used),
        reader.rule,
    )


def _mentioned(s: Statement) -> set[str]:
    return {s.name, *names(s.value)} if isinstance(s, Assign) else set(names(s.condition))


def _expression(text: str) -> Expression:
    """One expression that stands in a text by itself."""
    text = f"({text})"
    return _Translation(text, {}).of(ast.parse(text, mode="eval").body)


def comparisons(text: str) -> list[tuple[Expression, str, Expression]]:
    """The comparisons of a text, all of which have to hold: left side, operation, right side."""
    return list(compared(_expression(text)))


def _condition(text: str | None) -> Expression | None:
    return None if text is None else _expression(text)


def _init(value: float | str) -> Expression:
    return _expression(value) if isinstance(value, str) else Number(Fraction(repr(value)))


def _domain(text: str | None) -> Domain:
    """Comparisons of one name with constants, all of which hold."""
    found = Domain()
    if text is None:
        return found
    for left, op, right in comparisons(text):
        if isinstance(left, Name):
            end, from_below = _number(right), op in ("gt", "ge")
        else:
            end, from_below = _number(left), op in ("lt", "le")
        is_open = op in ("lt", "gt")
        if from_below and (end, is_open) >= (found.low, found.low_open):
            found = Domain(end, found.high, is_open, found.high_open)
        elif not from_below and (-end, is_open) >= (-found.high, found.high_open):
            found = Domain(found.low, end, found.low_open, is_open)
    return found


def _number(e: Expression) -> float:
    """The end of a domain, in float64."""
    match e:
        case Number(value):
            return float(value)
        case Apply("neg", (inner,)):
            return -_number(inner)
        case Apply(op, (left, right)):
            a, b = _number(left), _number(right)
            return {"add": a + b, "sub": a - b, "mul": a * b, "div": a / b if b else math.nan}[op]
    raise ValueError("an end of a domain is no number")


class _Translation:
    """Expressions of Python's syntax tree.

    Attributes:
        text: What was parsed: numbers are read from it, digit by digit.
        own: Names with a meaning of their own.
    """

    def __init__(self, text: str, own: Mapping[str, Expression]) -> None:
        self.text = text
        self.own = own

    def of(self, node: ast.expr) -> Expression:
        """The expression of a node."""
        match node:
            case ast.Constant():
                digits = ast.get_source_segment(self.text, node) or ""
                return Number(Fraction(digits.replace("_", "")))
            case ast.Name(id=name):
                return self.own.get(name, Name(name))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.of(operand)
            case ast.UnaryOp(op=op, operand=operand):
                return Apply(_OPERATORS[type(op)], (self.of(operand),))
            case ast.BinOp(left=left, op=op, right=right):
                return Apply(_OPERATORS[type(op)], (self.of(left), self.of(right)))
            case ast.BoolOp(op=op, values=values):
                return _folded(_OPERATORS[type(op)], [self.of(value) for value in values])
            case ast.Compare(left=left, ops=ops, comparators=others):
                pairs = itertools.pairwise(self.of(operand) for operand in (left, *others))
                steps = zip(ops, pairs, strict=True)
                return _folded("and", [Apply(_OPERATORS[type(op)], pair) for op, pair in steps])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return Apply("select", (self.of(test), self.of(body), self.of(orelse)))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                found = [self.of(argument) for argument in args]
                return _folded(name, found) if name in _OF_TWO else Apply(name, tuple(found))
        raise ValueError(f"a rule with `{ast.unparse(node)}`")


_OF_TWO = ("min", "max")
"""Functions that are written with any number of arguments."""


def _folded(op: str, parts: Sequence[Expression]) -> Expression:
    """Operations of two from left to right; one part is itself."""
    return reduce(lambda left, right: Apply(op, (left, right)), parts)


class _Rule:
    """The statements of a rule, with the names that are tensors before and behind each of them.

    Whatever contains no tensor is a number of the host. `p`, `g`, inputs and states of the shape of
    `p` stay tensors whatever they are given; another name is what it is given last, and a tensor
    where it is one on any of the paths that meet.
    """

    def __init__(self, text: str, tensors: set[str], known: set[str]) -> None:
        self.fixed = frozenset(tensors)
        tree = ast.parse(text)
        stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)
                  and isinstance(n.ctx, ast.Store)}  # fmt: skip
        own = {} if "pi" in known | stored else {"pi": _PI}
        self.expression = _Translation(text, own).of
        self.rule, _ = self.block(tree.body, self.fixed)

    def block(
        self, body: Sequence[ast.stmt], tensors: frozenset[str]
    ) -> tuple[tuple[Statement, ...], frozenset[str]]:
        """The statements of a block, and the tensors behind it."""
        found: list[Statement] = []
        for node in body:
            found.append(self.statement(node, tensors))
            tensors = found[-1].after
        return tuple(found), tensors

    def statement(self, node: ast.stmt, before: frozenset[str]) -> Statement:
        """One statement."""
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                read = self.expression(value)
                after = (before | {name}) if before & set(names(read)) else (before - {name})
                return Assign(name, read, node.lineno, before, after | self.fixed)
            case ast.If(test=test, body=body, orelse=orelse):
                left, behind = self.block(body, before)
                right, other = self.block(orelse, before)
                return If(self.expression(test), left, right, before, behind | other)
        raise ValueError(f"a rule with `{ast.unparse(node)}`")


def place(spec: Spec, statement: Assign) -> str:
    """`file:line: text` of a statement."""
    line = spec.source.inner_span(("rule", spec.subject.key), statement.line, 0, 1).line
    return spec.source.quoted(line)
