"""Python as backends print it, and what those that do share: signatures, checks and `init`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from stepforge.backends import aside, meaning
from stepforge.backends.syntax import WIDTH, Syntax
from stepforge.backends.writer import Writer
from stepforge.language.expression import Apply, Assign, Expression, Name, Statement, read
from stepforge.language.kinds import Kind
from stepforge.language.names import CHECKED
from stepforge.language.spec import Hyperparameter, Input, Spec, State
from stepforge.lowering.kernel import Value

PYTHON = Syntax(
    comment="#",
    pragmas=("fmt: off", "mypy: ignore-errors"),
    end="",
    arms=("if {}:", "elif {}:", "else:"),
    close="",
    comma=",",
    scalars="scalar",
    package="__init__.py",
    docstring='"""{}"""'.format,
    hidden=aside.hidden,
    shown=aside.rendered,
    check=lambda text, file: compile(text, file, "exec"),
    meaning=meaning.of,
)
HOST = Writer(PYTHON, PYTHON.scalars)
"""Writes what the host computes."""


def number(value: float) -> str:
    """A float64 as the shortest Python literal."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e6 else repr(value)


def expression(e: Expression) -> str:
    """A scalar expression of the spec, such as an initial value or a condition on options."""
    return HOST.value(_untyped(e))


def condition(e: Expression) -> Value:
    """A condition on options as a value."""
    if isinstance(e, Apply):
        return Value(e.op, tuple(condition(a) for a in e.args), Kind.OPTION)
    assert isinstance(e, Name)
    return Value("name", (), Kind.OPTION, e.id)


def _untyped(e: Expression) -> Value:
    if isinstance(e, Name):
        return Value("name", (), Kind.SCALAR, e.id)
    if isinstance(e, Apply):
        return Value(e.op, tuple(_untyped(a) for a in e.args), Kind.SCALAR)
    return Value("number", (), Kind.SCALAR, e.text)


def parameters(spec: Spec) -> list[str]:
    """Keyword parameters of `step` that have defaults."""
    return [f"{h.name}={number(h.default)}" for h in spec.hyperparameters] + [
        f"{o.name}={o.default}" for o in spec.options
    ]


def asked(spec: Spec, takes_tensors: bool) -> list[Input]:
    """The inputs that a `step` has as keywords: those without defaults, which come first."""
    return [i for i in spec.inputs if i.scalar or takes_tensors]


def tensors_given(spec: Spec, *names: str) -> str:
    """A dictionary of the tensors that a step takes, as text: some by name, inputs, the state."""
    texts = [f'"{name}": {name}' for name in (*names, *spec.given[2:])]
    return f"{{{', '.join([*texts, '**state'])}}}"


def init_parameters(spec: Spec) -> list[str]:
    """Keyword parameters of `init`: what the set of states and their first values depend on."""
    read = {name for s in spec.states for name in _names(s.init)}
    read |= {name for s in spec.states if s.when for name in _names(s.when)}
    return [text for text in parameters(spec) if text.split("=")[0] in read]


def _names(e: Expression) -> Iterator[str]:
    if isinstance(e, Name):
        yield e.id
    elif isinstance(e, Apply):
        for argument in e.args:
            yield from _names(argument)


def signature(name: str, positional: list[str], keywords: list[str], result: str) -> str:
    """`def name(positional, *, keywords) -> result:`."""
    parameters = [*positional, *(["*", *keywords] if keywords else [])]
    return PYTHON.layout(f"def {name}", parameters, f" -> {result}:")


def each(states: Iterable[State], line: Callable[[State], str]) -> list[str]:
    """One line for every state, under its condition."""
    return [text for s in states for text in PYTHON.under(s.when_text, [line(s)], 1)]


@dataclass(frozen=True, slots=True)
class Initial:
    """How a backend writes the tensors that states are before the first step.

    Attributes:
        real: What most of them take their type from.
        full: A tensor of a number, for which there is a place.
        copy: A copy of the parameter.
        stored: The first, brought into the type of the parameter.
        same: A copy of the parameter in its own type.
    """

    real: str
    full: str
    copy: str
    stored: str
    same: str

    def of(self, state: State) -> str:
        """The tensor that a state begins as."""
        if state.is_copy:
            return self.same if state.has_p_type else self.copy
        full = self.stored if state.has_p_type else self.full
        return full.format(expression(state.init))


def initial_state(spec: Spec, initial: Initial) -> str:
    """The body of `init`."""

    def line(state: State) -> str:
        value = f"float({expression(state.init)})" if state.scalar else initial.of(state)
        return f'state["{state.name}"] = {value}'

    needs_type = any(not (s.scalar or (s.is_copy and s.has_p_type)) for s in spec.states)
    lines = [f"    real = {initial.real}"] if needs_type else []
    return "\n".join([*lines, *each(spec.states, line)])


def types_of_states(spec: Spec) -> str:
    """What the documentation of `init` says of the types of 16-bit parameters' states."""
    tensors = [s for s in spec.states if not s.scalar]
    if tensors and all(s.has_p_type for s in tensors):
        return "its tensors have the type of `p`."
    if any(s.has_p_type for s in tensors):
        return "some states of 16-bit parameters are float32."
    return "16-bit parameters have float32 states."


def common(
    spec: Spec, scalars: list[str], positional: list[str], result: str,
    settings: Mapping[str, tuple[str, str]] = {}, function: str = "step",
) -> dict[str, object]:  # fmt: skip
    """The keys that all templates of functions share.

    Args:
        spec: The spec.
        scalars: Names that the host reads; its hyperparameters are turned into Python floats.
        positional: The arguments of the function before its keywords; inputs that are tensors are
            among the keywords if `p` is among these.
        result: The return type of the function.
        settings: Further keywords that the backend has: their defaults and documentation.
        function: The name of the function.
    """
    settings = {CHECKED: ("True", "Whether numbers outside of domains are refused."), **settings}
    inputs = asked(spec, "p" in positional)
    keywords = [i.name for i in inputs] + parameters(spec)
    keywords += [f"{name}={default}" for name, (default, _) in settings.items()]
    documented = [(i.name, about(i)) for i in inputs] + documentation(spec)
    documented += [(name, text) for name, (_, text) in settings.items()]
    return {
        "about": wrap(f"{spec.title}: {spec.summary}", 3).replace("\n   ", "\n"),
        "reference": wrap(f"Reference: {spec.reference}", 0),
        f"{function}_signature": signature(function, positional, keywords, result),
        "arguments": "\n".join(
            "        " + wrap(f"{name}: {text}", 8, 4) for name, text in documented
        ),
        "checks": checks(spec, scalars),
    }


def checks(spec: Spec, scalars: Collection[str]) -> list[str]:
    """What a generated function refuses before it computes, as lines without indentation.

    Args:
        spec: The spec.
        scalars: Names that the host reads; its hyperparameters are turned into Python floats.
    """
    checks = [
        "if t != int(t) or t < 1:",
        '    raise ValueError(f"t counts the steps from 1, not {t}")',
    ]
    for option in spec.options:
        if option.when is not None:
            missing = HOST.value(Value("not", (_untyped(option.when),)))
            checks += [
                f"if {option.name} and {missing}:",
                f'    raise ValueError("{option.name} needs {option.when_text}")',
            ]
    compared = {name for constraint in spec.together for name in constraint.names}
    for name in ("t", *(number.name for number in spec.numbers)):
        if name in scalars or name in compared:
            checks.append(f"{name} = float({name})")
    known = {*scalars, *(name.id for name in read(spec.rule))}  # what was folded away, too
    for h in spec.numbers:
        if h.name in known and (inside := within(h)):
            checks += [
                f"if {CHECKED} and not {inside}:",
                f'    raise ValueError(f"{h.name} is {{{h.name}}}, not {inside}")',
            ]
    for constraint in spec.together:
        given = ", ".join(f"{name} = {{{name}}}" for name in sorted(constraint.names))
        message = f'f"{given}, not {constraint.text}"'
        raised = PYTHON.layout("raise ValueError", [message], "", 2 * PYTHON.indent)
        checks += [
            f"if {CHECKED} and {violated(constraint.condition)}:",
            *(line.removeprefix(PYTHON.indent) for line in raised.split("\n")),
        ]
    return checks


def violated(condition: Expression) -> str:
    """That what hyperparameters have to be together does not hold, as a condition."""
    return HOST.value(Value("not", (_untyped(condition),)))


def about(given: Input) -> str:
    """What an input is, in a line of text."""
    kind = "A number" if given.scalar else "A tensor of p's shape, of any float type"
    domain = f" Domain: {given.domain_text}." if given.domain_text else ""
    return f"{sentence(given.doc)} {kind}.{domain}"


def within(h: Hyperparameter | Input) -> str:
    """That a number is in its domain, as a condition; "" if any number is."""
    low, high = h.domain.low, h.domain.high
    above, below = "<" if h.domain.low_open else "<=", "<" if h.domain.high_open else "<="
    if math.isfinite(low) and math.isfinite(high):
        return f"{number(low)} {above} {h.name} {below} {number(high)}"
    if math.isfinite(low):
        return f"{h.name} {above.replace('<', '>')} {number(low)}"
    return f"{h.name} {below} {number(high)}" if math.isfinite(high) else ""


def written(statements: Iterable[Statement], depth: int = 0, keyword: str = "if") -> Iterator[str]:
    """The lines of a rule as the author wrote them, without comments."""
    pad = "    " * depth
    for statement in statements:
        if isinstance(statement, Assign):
            yield f"{pad}{statement.text}"
            continue
        yield f"{pad}{keyword} {expression(statement.condition)}:"
        yield from written(statement.body, depth + 1)
        orelse = statement.orelse
        if len(orelse) == 1 and not isinstance(orelse[0], Assign):
            yield from written(orelse, depth, "elif")
        elif orelse:
            yield f"{pad}else:"
            yield from written(orelse, depth + 1)


def documentation(spec: Spec) -> list[tuple[str, str]]:
    """Name and one line of text for every keyword parameter of `step`."""
    rows = []
    for h in spec.hyperparameters:
        domain = f" Domain: {h.domain_text}." if h.domain_text else ""
        domain += f" Usually {h.usual_text}." if h.usual_text else ""
        with_others = [c.text for c in spec.together if h.name in c.names]
        domain += f" Together: {', '.join(with_others)}." if with_others else ""
        rows.append((h.name, sentence(h.doc) + domain))
    for o in spec.options:
        when = f" Only with `{o.when_text}`." if o.when_text else ""
        rows.append((o.name, sentence(o.doc) + when))
    return rows


def sentence(text: str) -> str:
    """A text that ends like a sentence."""
    return text if text.endswith((".", "!", "?")) else text + "."


def besides_scalars(spec: Spec) -> str:
    """The beginning of a condition that holds for no scalar state, where there are such."""
    names = [f'"{state.name}"' for state in spec.states if state.scalar]
    if len(names) > 1:
        return f"name not in ({', '.join(names)}) and "
    return "".join(f"name != {name} and " for name in names)


def wrap(text: str, indent: int, hanging: int = 0) -> str:
    """Text filled to the line width; the first line has no indentation of its own."""
    width = WIDTH - indent - hanging
    if len(text) <= width and text.isprintable() and text == text.strip():
        return text
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return ("\n" + " " * (indent + hanging)).join(lines)
