"""Spec to kernel: kinds, powers, the split into host scalars and element stages.

Nothing here reorders arithmetic. Every maximal subexpression without a tensor becomes one kernel
argument, computed on the host in float64.

In one file, because the passes share the names that are taken and the order of statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

from stepforge.language import kinds
from stepforge.language.expression import (
    Apply,
    Assign,
    Expression,
    Name,
    Number,
    Statement,
    assignments,
)
from stepforge.language.kinds import Kind
from stepforge.language.literals import literal
from stepforge.language.spec import Held, Options, Spec, holds, read_early, straight
from stepforge.lowering.kernel import (
    Argument,
    Branch,
    Kernel,
    Let,
    Stage,
    Step,
    Tensor,
    Value,
    lets,
    validate,
)
from stepforge.operations.powers import MAX_PRODUCT
from stepforge.operations.table import OPERATIONS

Guard = tuple[Value, bool]
"""A condition that the host decides, and the arm that is taken."""


def lower(spec: Spec) -> Kernel:
    """Lowers a checked spec; raises `GeneratorBug` if the result breaks its own rules."""
    return _lowered(Held(spec))


@lru_cache(maxsize=16)
def _lowered(held: Held) -> Kernel:
    spec = held.spec
    typed = _Typing(spec).block(spec.rule, kinds.declared(spec))
    rule = tuple(_live(typed, list(spec.option_sets())))
    split = _Split(spec, rule)
    body = split.block(rule, split.host)
    tensors = tensors_of(spec)
    stage = Stage(_loosened(body, {t.name: True for t in tensors if t.stored}))
    kernel = Kernel(
        spec=spec,
        tensors=tensors,
        rule=rule,
        host=split.program(),
        arguments=tuple(split.arguments.values()),
        stages=(stage,) if tensors else (),
    )
    validate(kernel)
    return kernel


def _live(steps: Iterable[Step], sets: Sequence[Options]) -> Iterator[Step]:
    """Steps without the arms that no option set reaches, where names may have no value."""
    for step in steps:
        if isinstance(step, Let):
            yield Let(step.name, _reached(step.value, sets))
            continue
        left, right = sets, sets
        if step.condition.kind is Kind.OPTION:
            left, right = _parted(step.condition, sets)
        if left and right:
            body, orelse = tuple(_live(step.body, left)), tuple(_live(step.orelse, right))
            if body or orelse:
                yield Branch(step.condition, body, orelse)
        else:
            yield from _live(step.body if left else step.orelse, sets)


def _reached(value: Value, sets: Sequence[Options]) -> Value:
    if value.op == "select" and value.args[0].kind is Kind.OPTION:
        condition, *arms = value.args
        left, right = _parted(condition, sets)
        if not (left and right):
            return _reached(arms[0 if left else 1], sets)
        found = (_reached(arm, part) for arm, part in zip(arms, (left, right), strict=True))
        return replace(value, args=(condition, *found))
    return replace(value, args=tuple(_reached(argument, sets) for argument in value.args))


def _parted(condition: Value, sets: Sequence[Options]) -> tuple[list[Options], list[Options]]:
    """The option sets for which a condition holds, and the others."""
    left = [s for s in sets if _chosen(condition, s)]
    return left, [s for s in sets if s not in left]


def _chosen(condition: Value, options: Options) -> bool:
    match condition.op:
        case "not":
            return not _chosen(condition.args[0], options)
        case "and":
            return all(_chosen(argument, options) for argument in condition.args)
        case "or":
            return any(_chosen(argument, options) for argument in condition.args)
    return options[condition.text]


def tensors_of(spec: Spec, options: Options | None = None) -> tuple[Tensor, ...]:
    """`p`, `g`, inputs and states, with how they are accessed; of one option set, or all."""
    return tuple(t for t in _tensors(Held(spec)) if options is None or holds(t.when, options))


@lru_cache(maxsize=16)
def _tensors(held: Held) -> tuple[Tensor, ...]:
    spec = held.spec
    if not spec.subject.tensors:
        return ()
    read_first: set[str] = set()
    for chosen in spec.option_sets():
        assigned: set[str] = set()
        read_first |= {name.id for name in read_early(spec.rule, chosen, assigned)}
        stored = {"p", *(s.name for s in spec.active_states(chosen))}
        read_first |= stored - assigned  # they keep their value on some path
    states = [
        Tensor(s.name, s.name in read_first, True, s.when) for s in spec.states if not s.scalar
    ]
    given = [Tensor(name, name in read_first, name == "p") for name in spec.given]
    return *given, *states


class _Typing:
    """Gives every value its kind; makes scalars tensors where a tensor is needed."""

    def __init__(self, spec: Spec) -> None:
        self.tensors = kinds.fixed(spec)
        self.nonnegative = {number.name for number in spec.numbers if number.domain.low >= 0}
        self.used = set(kinds.declared(spec)) | {a.name for a in assignments(spec.rule)}
        self.before: list[Let] = []
        """Statements that the one at hand needs first."""
        self.guards: list[Guard] = []
        """The choices on the host that lead to the expression at hand."""

    def block(self, statements: tuple[Statement, ...], known: dict[str, Kind]) -> tuple[Step, ...]:
        steps: list[Step] = []
        for statement in statements:
            if isinstance(statement, Assign):
                value = self.value(statement.value, known)
                if statement.name in self.tensors and value.kind is not Kind.TENSOR:
                    value = _fill(value)
                known[statement.name] = kinds.after(statement, known, self.tensors)
                steps += [*self.before, Let(statement.name, value)]
                self.before = []
            else:
                left, right = dict(known), dict(known)
                body = self.block(statement.body, left)
                orelse = self.block(statement.orelse, right)
                joined = kinds.join(left, right)
                steps.append(
                    Branch(
                        self.value(statement.condition, known),
                        body + self.promoted(left, joined),
                        orelse + self.promoted(right, joined),
                    )
                )
                known.update(joined)
        return tuple(steps)

    @staticmethod
    def promoted(branch: dict[str, Kind], joined: dict[str, Kind]) -> tuple[Let, ...]:
        """Makes tensors of the scalars that the other branch has as tensors."""
        return tuple(
            Let(name, _fill(Value("name", (), Kind.SCALAR, name)))
            for name, kind in branch.items()
            if kind is Kind.SCALAR and joined[name] is Kind.TENSOR
        )

    def value(self, e: Expression, known: dict[str, Kind]) -> Value:
        if isinstance(e, Number):
            return Value("number", (), Kind.SCALAR, e.text)
        if isinstance(e, Name):
            return Value("name", (), known.get(e.id, Kind.SCALAR), e.id)
        if e.op == "pow":
            return self.power(e, known)
        kind = kinds.kind(e, known)
        if e.op == "select":
            args = self.choice(e, known)
        else:
            args = [self.value(argument, known) for argument in e.args]
        if e.op == "select" and kind is Kind.TENSOR:
            args = _arms(args)
        if kind is Kind.TENSOR and OPERATIONS[e.op].formula:
            args = list(map(_as_tensor, args))
        if e.op == "clip" and kind is Kind.TENSOR and args[0].kind is args[1].kind is Kind.SCALAR:
            # Otherwise NumPy would take the maximum of two numbers, which is no weak scalar.
            args = [Value("max", tuple(args[:2]), Kind.SCALAR), args[2]]
            return Value("min", tuple(args), kind)
        return Value(e.op, tuple(args), kind)

    def choice(self, e: Apply, known: dict[str, Kind]) -> list[Value]:
        """Condition and arms; what an arm needs first is guarded by a condition of the host."""
        condition = self.value(e.args[0], known)
        args = [condition]
        for arm, is_taken in zip(e.args[1:], (True, False), strict=True):
            on_host = condition.kind is not Kind.TENSOR
            self.guards += [(condition, is_taken)] if on_host else []
            args.append(self.value(arm, known))
            del self.guards[len(self.guards) - on_host :]
        return args

    def power(self, e: Apply, known: dict[str, Kind]) -> Value:
        """Square and fourth roots; small integer powers of tensors as products."""
        base, exponent = self.value(e.args[0], known), literal(e.args[1])
        kind = kinds.kind(e, known)
        if exponent is not None and abs(exponent) in (Fraction(1, 2), Fraction(1, 4)):
            root = Value("sqrt", (base,), kind)
            root = root if exponent.denominator == 2 else Value("sqrt", (root,), kind)
            return root if exponent > 0 else _reciprocal(root)
        is_small = exponent is not None and abs(exponent) <= MAX_PRODUCT
        if kind is not Kind.TENSOR or exponent is None or exponent.denominator > 1 or not is_small:
            return self.any_power(base, self.value(e.args[1], known), kind)
        if exponent == 0:
            return _fill(_ONE)
        product = self.product(base, abs(int(exponent)))
        return product if exponent > 0 else _reciprocal(product)

    def any_power(self, base: Value, power: Value, kind: Kind) -> Value:
        """A power with whatever exponent."""
        if kind is Kind.TENSOR:
            return Value("pow", tuple(map(_as_tensor, (base, power))), kind)
        return Value("pow" if self.is_real(base, power) else "real_pow", (base, power), kind)

    def is_real(self, base: Value, power: Value) -> bool:
        """Whether a host power is real by its form: of no negative base, or to an integer."""
        if base.op == "number" or (base.op == "name" and base.text in self.nonnegative):
            return True
        return all(
            OPERATIONS[v.op].whole if v.args else v.text == "t" or v.text.isdecimal()
            for v in power.operations()
        )

    def product(self, base: Value, count: int) -> Value:
        """`base*base*…`, left to right; a base that is no name is computed once."""
        if count == 2 and base.op != "name":
            return Value("square", (base,), Kind.TENSOR)
        if base.op != "name" and count > 1:
            name = _unused("base", self.used)
            self.used.add(name)
            self.before.append(Let(name, _guarded(base, self.guards)))
            base = Value("name", (), Kind.TENSOR, name)
        result = base
        for _ in range(count - 1):
            result = Value("mul", (result, base), Kind.TENSOR)
        return result


_ONE = Value("number", (), Kind.SCALAR, "1")


def _fill(value: Value) -> Value:
    return Value("fill", (value,), Kind.TENSOR)


def _as_tensor(value: Value) -> Value:
    return value if value.kind is Kind.TENSOR else _fill(value)


def _reciprocal(value: Value) -> Value:
    return Value("div", (_ONE, value), value.kind)


def _guarded(value: Value, guards: Sequence[Guard]) -> Value:
    """The value where the choices lead to it, zero elsewhere: it may fail there."""
    zero = _zero(value.boolean)
    if value.kind is Kind.TENSOR:
        zero = _fill(zero)
    for condition, is_taken in reversed(guards):
        arms = (value, zero) if is_taken else (zero, value)
        value = Value("select", (condition, *arms), value.kind)
    return value


def _arms(args: list[Value]) -> list[Value]:
    """A tensor needs at least one arm to be one; a choice by option needs both."""
    condition, left, right = args
    scalars = [arm.kind is not Kind.TENSOR for arm in (left, right)]
    if all(scalars) or (condition.kind is not Kind.TENSOR and scalars[0]):
        left = _fill(left)
    if condition.kind is not Kind.TENSOR and scalars[1]:
        right = _fill(right)
    return [condition, left, right]


def _unused(name: str, used: set[str]) -> str:
    """The name itself, or with the first number that makes it new."""
    candidate, number = name, 1
    while candidate in used:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


Key = tuple[Value, tuple[int, ...], bool]
"""A value, the versions of the names in it, and whether branches read it."""


@dataclass
class _Split:
    """Sorts the rule into a host program, kernel arguments and the body of the stage."""

    spec: Spec
    rule: tuple[Step, ...]
    host: list[Step] = field(default_factory=list)
    constants: list[Step] = field(default_factory=list)
    """Arguments that depend on hyperparameters alone and cannot fail: computed first."""
    arguments: dict[str, Argument] = field(default_factory=dict)
    bound: dict[Key, str] = field(default_factory=dict)
    """What is known at this point, by value and by the versions of the names in it."""
    keys: dict[str, Key] = field(default_factory=dict)
    version: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fixed = {number.name for number in self.spec.numbers} | {"t"}
        self.used = set(kinds.declared(self.spec))
        self.used |= {let.name for let in lets(self.rule)}
        self.reassigned = {s.name for s in self.spec.states if s.scalar}
        for options in self.spec.option_sets():
            names = [a.name for a in straight(self.spec.rule, options)]
            self.reassigned |= {name for name in names if names.count(name) > 1}
        # A name of the kernel is a number or a tensor, not first the one and then the other.
        self.reassigned |= {let.name for let in lets(self.rule) if let.value.kind is Kind.TENSOR}

    def program(self) -> tuple[Step, ...]:
        """The host program; arguments that some options leave out are zero there."""
        always = self.fixed | _assigned_always(self.host) | _assigned_always(self.constants)
        defaults = [
            Let(argument.name, _zero(argument.boolean))
            for argument in self.arguments.values()
            if argument.name not in always
        ]
        return (*defaults, *self.constants, *self.host)

    def block(self, steps: tuple[Step, ...], host: list[Step]) -> tuple[Step, ...]:
        """The element part of a block; its scalar part is appended to `host`."""
        body: list[Step] = []
        for step in steps:
            if isinstance(step, Branch):
                body += self.branch(step, host)
            elif step.value.kind is Kind.TENSOR:
                body.append(Let(step.name, self.element(step.value, (), host, step.name)))
            else:
                host.append(step)
                self.version[step.name] = self.version.get(step.name, 0) + 1
        return tuple(body)

    def branch(self, step: Branch, host: list[Step]) -> list[Step]:
        condition, on_host = step.condition, step.condition.kind is not Kind.OPTION
        if on_host:
            name = self.computed(condition, (), host, "path", decides=True)
            condition = Value("name", (), Kind.SCALAR, name)
        hosts: tuple[list[Step], list[Step]] = ([], [])
        outer = dict(self.bound)
        bodies = []
        for block, inner in zip((step.body, step.orelse), hosts, strict=True):
            bodies.append(self.block(block, inner))
            self.bound = dict(outer) | {
                key: name for key, name in self.bound.items() if self.is_constant(key[0])
            }
        if on_host and bodies[1] and not bodies[0]:
            # A kernel has no branch without a body: its condition is the opposite one.
            opposite = Value("not", (step.condition,), Kind.SCALAR)
            name = self.computed(opposite, (), host, "path", decides=True)
            bodies.reverse()
        if hosts[0] or hosts[1]:
            host.append(Branch(condition, tuple(hosts[0]), tuple(hosts[1])))
        if not bodies[0] and not bodies[1]:
            return []
        if on_host:
            self.arguments[name] = Argument(name, boolean=True, decides=True)
            asked = Value("name", (), Kind.SCALAR, name), Value("number", (), Kind.SCALAR, "0")
            condition = Value("ne", asked, Kind.SCALAR)  # conditions travel as 0 and 1
        return [Branch(condition, bodies[0], bodies[1])]

    def is_constant(self, value: Value) -> bool:
        """Whether it depends on hyperparameters alone and cannot fail."""
        fallible = any(v.args and OPERATIONS[v.op].fallible for v in value.operations())
        return not fallible and all(name in self.fixed for name in value.names())

    def element(
        self, value: Value, guards: tuple[Guard, ...], host: list[Step], target: str
    ) -> Value:
        """The value with every maximal scalar subexpression replaced by an argument."""
        if value.kind is Kind.OPTION or (value.is_literal and not value.boolean):
            return value
        if value.kind is Kind.SCALAR:
            return self.argument(value, guards, host, target)
        if value.op == "select" and value.args[0].kind is not Kind.TENSOR:
            condition, *arms = value.args
            inner = [
                self.element(arm, (*guards, (condition, is_taken)), host, target)
                for arm, is_taken in zip(arms, (True, False), strict=True)
            ]
            condition = self.element(condition, guards, host, target)
            return Value("select", (condition, *inner), value.kind)
        args = tuple(self.element(argument, guards, host, target) for argument in value.args)
        return Value(value.op, args, value.kind, value.text)

    def argument(
        self, value: Value, guards: tuple[Guard, ...], host: list[Step], target: str
    ) -> Value:
        """The argument that passes a scalar to the stage; computes it if it is not there yet."""
        name = self.computed(value, guards, host, target)
        self.arguments[name] = Argument(name, value.boolean)
        return Value("name", (), Kind.SCALAR, name)

    def computed(
        self, value: Value, guards: tuple[Guard, ...], host: list[Step], target: str,
        decides: bool = False,
    ) -> str:  # fmt: skip
        """The name of a scalar that the host computes, if it is not there yet."""
        constant = self.is_constant(value)
        original = value
        if not constant:
            value = _guarded(value, guards)
        key = (value, tuple(self.version.get(name, 0) for name in value.names()), decides)
        if key not in self.bound:
            plain = value.op == "name" and value.text not in self.reassigned
            if plain:
                name = value.text
            else:
                other = {name for name, known in self.keys.items() if known != key}
                name = _unused(_spoken(original, target), self.used | other)
                (self.constants if constant else host).append(Let(name, value))
            self.bound[key] = name
            self.keys[name] = key
        return self.bound[key]


def _loosened(body: Sequence[Step], signed: dict[str, bool]) -> tuple[Step, ...]:
    """Steps whose extremes see to the sign of zero where no later extreme does.

    Args:
        body: The steps.
        signed: Names that are read later, and whether the sign of their zeros matters there; those
            that are read from the start of the steps on when this returns.
    """
    found: list[Step] = []
    for step in reversed(body):
        if isinstance(step, Branch):
            other = dict(signed)
            arms = _loosened(step.body, signed), _loosened(step.orelse, other)
            for name, matters in other.items():
                signed[name] = signed.get(name, False) or matters
            found.append(Branch(step.condition, *arms))
        else:
            matters = signed.pop(step.name, True)
            value = _loose(step.value, not matters)
            _read(value, matters, signed)
            found.append(Let(step.name, value))
    return tuple(reversed(found))


def _read(value: Value, matters: bool, signed: dict[str, bool]) -> None:
    """Notes the names that a value reads; of a name that only extremes read no sign matters."""
    if value.op == "name":
        signed[value.text] = signed.get(value.text, False) or matters
    for index, argument in enumerate(value.args):
        passed = matters if value.op == "select" and index > 0 else not OPERATIONS[value.op].settles
        _read(argument, passed, signed)


def _loose(value: Value, is_compared: bool) -> Value:
    """A value, perhaps an argument of an extreme, with fewer signs of zeros to see to."""
    if value.kind is not Kind.TENSOR:
        return value
    arms_only, settles = value.op == "select", bool(value.args) and OPERATIONS[value.op].settles
    args = tuple(
        _loose(a, settles or (arms_only and index > 0 and is_compared))
        for index, a in enumerate(value.args)
    )
    if is_compared and value.op == "clip":
        larger = Value("larger", args[:2], Kind.TENSOR)
        return Value("smaller", (larger, args[2]), Kind.TENSOR)
    loose = OPERATIONS[value.op].loose if value.args and is_compared else ""
    return replace(value, op=loose or value.op, args=args)


def _assigned_always(steps: Iterable[Step]) -> set[str]:
    """Names that have a value after the steps, whatever the options."""
    names: set[str] = set()
    for step in steps:
        if isinstance(step, Let):
            names.add(step.name)
        else:
            names |= _assigned_always(step.body) & _assigned_always(step.orelse)
    return names


def _zero(boolean: bool) -> Value:
    return Value("number", (), Kind.SCALAR, "False" if boolean else "0.0")


_DIGITS = {"1": "one", "2": "two", "0": "zero", "3": "three"}


def _spoken(value: Value, target: str) -> str:
    """A name that says what an argument is, as in `one_minus_beta1`."""

    def say(v: Value) -> str:
        if v.op == "name":
            return v.text
        if v.op == "number":
            return _DIGITS.get(v.text) or re.sub(r"\W", "_", v.text)
        return OPERATIONS[v.op].spoken.format(*map(say, v.args))

    spoken = re.sub(r"_+", "_", say(value))
    if len(spoken) > 40 or not spoken[0].isalpha():
        return f"{target}_condition" if value.boolean else f"{target}_factor"
    return spoken
