"""Rules handed over from Python as SymPy expressions, for notebooks.

The expressions are printed as rule text and loaded like any spec, so the same rules apply and the
text can be saved as `specs/NAME.toml`. SymPy's own argument order counts: what runs is what SymPy
made of the expression, term by term in the order of its `args`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stepforge.language.reader import loads
from stepforge.language.spec import Spec

if TYPE_CHECKING:
    from stepforge.language.expression import Expression
    from stepforge.lowering.kernel import Value

Entries = Mapping[Any, Mapping[str, Any]]


def spec_from_sympy(
    *,
    name: str,
    title: str,
    summary: str,
    reference: str,
    rule: Iterable[tuple[Any, Any]],
    hyperparameters: Entries | None = None,
    options: Entries | None = None,
    state: Entries | None = None,
    inputs: Entries | None = None,
) -> Spec:
    """A spec whose rule is a list of SymPy expressions.

    Symbols are known by their names; `p`, `g` and `t` are the parameter, the gradient and the step
    number. A choice by option is a `Piecewise` whose condition is the option's symbol. What is
    assigned to a state with a `when` condition is assigned only under that condition.

    Args:
        name: Name of the optimizer.
        title: Its name in prose.
        summary: One sentence.
        reference: Where the formula comes from.
        rule: The statements in order: the name or symbol that is assigned, and its value.
        hyperparameters: Name or symbol → the keys of the spec language: `default`, `doc`, and
            perhaps `domain` and `usual`, as text or as a SymPy relation.
        options: Name or symbol → `default`, `doc`, and perhaps `when`.
        state: Name or symbol → `init`, `doc`, and perhaps `domain`, `when`, `scalar` and
            `dtype`.
        inputs: Name or symbol → `doc`, and perhaps `domain` and `scalar`.

    Returns:
        The spec; `spec.source.text` is its text in the spec language.

    Raises:
        SpecError: The spec breaks a rule of the language; positions are those of its text.
        ValueError: An expression holds something that the rule language does not have.
    """
    head = {"name": name, "title": title, "summary": summary, "reference": reference}
    lines = [f"{key} = {_toml(value)}" for key, value in head.items()]
    sections = (("hyperparameters", hyperparameters), ("options", options), ("state", state))
    for section, entries in sections:
        lines += ["", f"[{section}]", *_entries(entries or {})]
    if inputs:
        lines += ["", "[inputs]", *_entries(inputs)]
    when = {str(key): entry["when"] for key, entry in (state or {}).items() if "when" in entry}
    update = "\n".join(_statements(rule, when))
    readable = f"'''\n{update}\n'''" if "'''" not in update else _toml(update)
    lines += ["", "[rule]", f"update = {readable}", ""]
    return loads("\n".join(lines), f"<{name}>")[0]


def _entries(entries: Entries) -> Iterator[str]:
    for key, entry in entries.items():
        values = ", ".join(f"{_key(word)} = {_toml(value)}" for word, value in entry.items())
        yield f"{_key(key)} = {{ {values} }}"


def _statements(rule: Iterable[tuple[Any, Any]], when: Mapping[str, Any]) -> Iterator[str]:
    for target, value in rule:
        assignment = f"{_name(str(target))} = {_text(value)}"
        if str(target) in when:
            yield f"if {_text(when[str(target)])}:"
            yield f"    {assignment}"
        else:
            yield assignment


def _key(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else json.dumps(text)


def _toml(value: object) -> str:
    """A value of the spec language; SymPy numbers, expressions and relations become text."""
    import sympy

    if isinstance(value, sympy.Integer | sympy.Float):
        value = int(value) if isinstance(value, sympy.Integer) else float(value)
    if isinstance(value, bool | int | float | str):
        return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    return json.dumps(_text(value))


def _text(value: Any) -> str:
    """An expression as text of the rule language."""
    import sympy

    from stepforge.backends.python import PYTHON
    from stepforge.backends.writer import Writer
    from stepforge.language.mathematics import from_sympy
    from stepforge.operations.operation import ATOM, Spelling
    from stepforge.operations.table import OPERATIONS

    class Authors(Writer):
        """Writes the rule language: Python's operators, and functions of its own."""

        def spelling(self, value: Value) -> Spelling:
            operation = OPERATIONS[value.op]
            scalar = operation.spellings[self.column]
            if scalar.precedence is not ATOM:
                return scalar
            arguments = ", ".join(f"{{{index}}}" for index in range(operation.arity))
            return Spelling(f"{operation.symbol}({arguments})")

    if isinstance(value, str):
        return value
    writer = Authors(PYTHON, "scalar")
    return writer.value(_value(from_sympy(sympy.sympify(value, strict=True))))


def _value(e: Expression) -> Value:
    from stepforge.language.expression import Apply, Name
    from stepforge.language.kinds import Kind
    from stepforge.lowering.kernel import Value

    if isinstance(e, Apply):
        return Value(e.op, tuple(_value(argument) for argument in e.args), Kind.TENSOR)
    if isinstance(e, Name):
        return Value("name", (), Kind.TENSOR, _name(e.id))
    return Value("number", (), Kind.TENSOR, e.text)


def _name(text: str) -> str:
    """The name itself: anything else would change the text around it."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError(f"`{text}` is not a name: use letters, digits and underscores")
    return text
