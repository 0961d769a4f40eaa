"""Rules in the notation of mathematics, in the author's order: LaTeX and MathML.

Printed is the tree of the expression, operation by operation. Fractions, roots and bars group by
themselves; everywhere else there are parentheses where the tree needs them.

In one file, because LaTeX and MathML are two printers of one walk.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from stepforge.language.expression import Apply, Assign, Expression, Name, Number, Statement, names
from stepforge.language.spec import Options, Spec, holds, is_option_condition, under
from stepforge.operations.operation import ATOM, POWER, PRODUCT, UNARY
from stepforge.operations.table import OPERATIONS

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "epsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ",
    "omega": "ω", "inf": "∞",
}  # fmt: skip
"""Names of letters → the letters."""
ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "dot": "˙"}
"""Last parts of a name that stand above the letter."""
Row = tuple[str, str, str]
"""Left side, right side and condition of an assignment."""


class Typesetter(ABC):
    """Prints expressions; a notation says how each form is written."""

    def __init__(self, spec: Spec, options: Options | None = None) -> None:
        """For a spec; with options, what they leave out is not printed."""
        self.spec = spec
        self.options = options
        self.shown: dict[str, str] = {}
        """Names as they are printed: no two alike."""
        for name in dict.fromkeys(_names(spec)):
            text = self.name(name)
            self.shown[name] = self.word(name) if text in self.shown.values() else text

    # What a notation has to say.

    @abstractmethod
    def digits(self, text: str) -> str:
        """A number without an exponent."""

    @abstractmethod
    def word(self, text: str) -> str:
        """A name of several letters, or of a function."""

    @abstractmethod
    def letter(self, text: str) -> str:
        """A Latin letter, or the name of a Greek one."""

    @abstractmethod
    def below(self, base: str, index: str) -> str:
        """A subscript."""

    @abstractmethod
    def accented(self, base: str, accent: str) -> str:
        """A key of `ACCENTS` above a letter."""

    @abstractmethod
    def sign(self, symbol: str) -> str:
        """An operator of the table; "" and "·" are the two signs of a product."""

    @abstractmethod
    def row(self, parts: Iterable[str]) -> str:
        """Parts beside one another."""

    @abstractmethod
    def brackets(self, inside: str, left: str = "(", right: str = ")") -> str:
        """Brackets that grow with what is inside."""

    @abstractmethod
    def fraction(self, above: str, below: str) -> str:
        """A fraction."""

    @abstractmethod
    def root(self, inside: str) -> str:
        """A square root."""

    @abstractmethod
    def power(self, base: str, exponent: str) -> str:
        """A superscript."""

    @abstractmethod
    def call(self, function: str, command: str, arguments: Sequence[str]) -> str:
        """A function of arguments; `command` is what LaTeX has for it, or ""."""

    @abstractmethod
    def cases(self, arms: Sequence[tuple[str, str]]) -> str:
        """Values with their conditions; the last one has "" for a condition."""

    # The rule.

    def rows(self) -> Iterator[Row]:
        """Every assignment that the options leave, with its condition if they are open."""
        yield from self._block(under(self.spec.rule, self.options), ())

    def _block(self, block: Iterable[Statement], given: tuple[Expression, ...]) -> Iterator[Row]:
        for statement in block:
            if isinstance(statement, Assign):
                yield self._row(statement, self.expression(_all(given)) if given else "")
                continue
            yield from self._block(statement.body, (*given, statement.condition))
            negated = Apply("not", (statement.condition,), statement.condition.span)
            yield from self._block(statement.orelse, (*given, negated))

    def _row(self, statement: Assign, condition: str) -> Row:
        return self.shown[statement.name], self.expression(statement.value), condition

    # Names and numbers.

    def name(self, name: str) -> str:
        """A name, with Greek letters, subscripts and accents where it speaks of them."""
        base, *parts = name.rstrip("_").split("_")
        accents = [part for part in parts if part in ACCENTS]
        indices = [part for part in parts if part not in ACCENTS]
        match = re.fullmatch(r"([A-Za-z]|[A-Za-z]+?)(\d*)", base)
        stem, number = (match[1], match[2]) if match else (base, "")
        if not (len(stem) == 1 or stem in GREEK):
            if not accents or indices or not match:
                return self.word(name)
            text = self.word(base)
            number = ""
        else:
            text = self.letter(stem)
        for accent in accents:
            text = self.accented(text, accent)
        indices = [number, *indices] if number else indices
        if not indices:
            return text
        inside = [self.digits(i) if i.isdecimal() else self._index(i) for i in indices]
        return self.below(text, self.row(_between(inside, self.sign(","))))

    def _index(self, index: str) -> str:
        return self.letter(index) if len(index) == 1 or index in GREEK else self.word(index)

    def number(self, number: Number) -> tuple[str, int]:
        """A literal, with its exponent as a power of ten."""
        mantissa, _, exponent = number.text.lower().partition("e")
        if mantissa.startswith("."):
            mantissa = f"0{mantissa}"
        mantissa = mantissa.removesuffix(".")
        if not exponent:
            return self.digits(mantissa), ATOM
        sign = self.sign("-") if exponent.startswith("-") else ""
        digits = exponent.lstrip("+-").lstrip("0") or "0"
        power = self.power(self.digits("10"), self.row([sign, self.digits(digits)]))
        if mantissa == "1":
            return power, POWER
        return self.row([self.digits(mantissa), self.sign("·"), power]), PRODUCT

    # Expressions.

    def expression(self, e: Expression) -> str:
        """An expression."""
        return self.printed(e)[0]

    def printed(self, e: Expression) -> tuple[str, int]:
        """An expression, and how strongly it holds together."""
        if isinstance(e, Number):
            return self.number(e)
        if isinstance(e, Name):
            return self.shown[e.id], ATOM
        if (taken := self.taken(e)) is not e:
            return self.printed(taken)
        notation = OPERATIONS[e.op].notation
        method: Callable[[Apply], str] = getattr(self, f"print_{notation.form}")
        return method(e), notation.precedence

    def taken(self, e: Expression) -> Expression:
        """The arm that the options choose, if they choose one."""
        while isinstance(e, Apply) and e.op == "select" and self.decides(e.args[0]):
            assert self.options is not None
            e = e.args[1 if holds(e.args[0], self.options) else 2]
        return e

    def decides(self, condition: Expression) -> bool:
        """Whether the options that are given decide a condition."""
        return self.options is not None and is_option_condition(condition)

    def within(self, e: Expression, weakest: int) -> str:
        """An operand, in parentheses if it does not hold together as strongly as needed."""
        text, precedence = self.printed(e)
        return text if precedence >= weakest else self.brackets(text)

    def print_infix(self, e: Apply) -> str:
        """An operator between its operands."""
        notation = OPERATIONS[e.op].notation
        return self._infix(e, notation.left, notation.right)

    def _infix(self, e: Apply, left: int, right: int) -> str:
        a, b = e.args
        sign = self.sign(OPERATIONS[e.op].notation.sign)
        return self.row([self.within(a, left), sign, self.within(b, right)])

    def print_sum(self, e: Apply) -> str:
        """A sum; the author's grouping is kept."""
        notation = OPERATIONS[e.op].notation
        right = UNARY if _starts_negative(self.taken(e.args[1])) else notation.right
        return self._infix(e, notation.left, right)

    def print_product(self, e: Apply) -> str:
        """A product; a dot where numbers would run together."""
        a, b = map(self.taken, e.args)
        dot = _begins_with_digits(b) or (_ends_with_digits(a) and _is_fraction(b))
        parts = [self.within(a, PRODUCT), self.sign("·" if dot else ""), self.within(b, UNARY)]
        return self.row(parts)

    def print_fraction(self, e: Apply) -> str:
        """A fraction."""
        return self.fraction(*map(self.expression, e.args))

    def print_minus(self, e: Apply) -> str:
        """A sign; it binds like a product, which has the same value either way."""
        a = self.taken(e.args[0])
        weakest = UNARY if _starts_negative(a) else PRODUCT
        return self.row([self.sign("-"), self.within(a, weakest)])

    def print_power(self, e: Apply) -> str:
        """A power."""
        base, exponent = self.taken(e.args[0]), e.args[1]
        grouped = _form(base) in ("root", "bars")
        text = self.expression(base) if grouped else self.within(base, _of_base(base))
        return self.power(text, self.expression(exponent))

    def print_prefix(self, e: Apply) -> str:
        """An operator before its operand."""
        notation = OPERATIONS[e.op].notation
        return self.row([self.sign(notation.sign), self.within(e.args[0], notation.right)])

    def print_root(self, e: Apply) -> str:
        """A root."""
        return self.root(self.expression(e.args[0]))

    def print_bars(self, e: Apply) -> str:
        """An absolute value."""
        return self.brackets(self.expression(e.args[0]), "|", "|")

    def print_call(self, e: Apply) -> str:
        """A function; `min` and `max` of several have been written as of several."""
        command = OPERATIONS[e.op].notation.sign
        return self.call(e.op, command, [self.expression(a) for a in _arguments(e)])

    def print_cases(self, e: Apply) -> str:
        """Cases, those of the last one among them."""
        arms = []
        rest: Expression = e
        while isinstance(rest, Apply) and rest.op == "select":
            condition, value, other = rest.args
            arms.append((self.expression(value), self.expression(condition)))
            rest = self.taken(other)
        return self.cases([*arms, (self.expression(rest), "")])


def _names(spec: Spec) -> Iterator[str]:
    yield from (*spec.subject.tensors, "t")
    yield from (h.name for h in spec.hyperparameters)
    yield from (i.name for i in spec.inputs)
    yield from (o.name for o in spec.options)
    yield from (s.name for s in spec.states)
    pending = list(spec.rule)
    while pending:
        statement = pending.pop(0)
        if isinstance(statement, Assign):
            yield from (name.id for name in names(statement.value))
            yield statement.name
        else:
            pending[:0] = [*statement.body, *statement.orelse]


def _form(e: Expression) -> str:
    """The form of an operation in the table; "" of a name or number."""
    return OPERATIONS[e.op].notation.form if isinstance(e, Apply) else ""


def _all(conditions: Sequence[Expression]) -> Expression:
    first, *others = conditions
    for other in others:
        first = Apply("and", (first, other), first.span)
    return first


def _between(parts: Sequence[str], sign: str) -> list[str]:
    return [text for part in parts for text in (sign, part)][1:]


def _arguments(e: Apply) -> tuple[Expression, ...]:
    """The arguments as they were written: `max(x, y, z)` is a call of one place in the text."""
    first = e.args[0]
    folded = isinstance(first, Apply) and first.op == e.op and OPERATIONS[e.op].folds
    if folded and first.span == e.span:
        assert isinstance(first, Apply)
        return (*_arguments(first), *e.args[1:])
    return e.args


def _starts_negative(e: Expression) -> bool:
    """Whether it would be printed with a minus in front."""
    if not isinstance(e, Apply) or _form(e) not in ("minus", "product"):
        return False
    return _form(e) == "minus" or _starts_negative(e.args[0])


def _begins_with_digits(e: Expression) -> bool:
    if isinstance(e, Apply) and _form(e) in ("power", "product"):
        return _begins_with_digits(e.args[0])
    return isinstance(e, Number)


def _ends_with_digits(e: Expression) -> bool:
    if isinstance(e, Apply) and _form(e) in ("product", "minus"):
        return _ends_with_digits(e.args[-1])
    return isinstance(e, Number)


def _is_fraction(e: Expression) -> bool:
    if isinstance(e, Apply) and _form(e) == "product":
        return _is_fraction(e.args[0])
    return _form(e) == "fraction"


def _of_base(base: Expression) -> int:
    """How strong the base of a power must be: of fractions and calls no power is visible."""
    return ATOM + 1 if isinstance(base, Apply) else ATOM


_LATEX_SIGNS = {
    "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "∧": r"\land", "∨": r"\lor", "¬": r"\lnot",
    "·": r"\cdot", "": r"\,",
}  # fmt: skip
_LATEX_LETTERS = {
    "eps": r"\varepsilon",
    "epsilon": r"\varepsilon",
    "phi": r"\varphi",
    "inf": r"\infty",
}


class Latex(Typesetter):
    """LaTeX, with the environments of amsmath."""

    def text(self) -> str:
        """All assignments, one below the other."""
        lines = [r"\begin{aligned}"]
        for left, right, condition in self.rows():
            when = rf" && \text{{if }} {condition}" if condition else ""
            lines.append(rf"  {left} &\leftarrow {right}{when} \\")
        return "\n".join([*lines, r"\end{aligned}"])

    def digits(self, text: str) -> str:
        """A number without an exponent."""
        return text

    def word(self, text: str) -> str:
        """A name of several letters, or of a function."""
        return rf"\mathrm{{{text}}}".replace("_", r"\_")

    def letter(self, text: str) -> str:
        """A Latin letter, or the name of a Greek one."""
        if len(text) == 1:
            return text
        return _LATEX_LETTERS.get(text, rf"\{text}")

    def below(self, base: str, index: str) -> str:
        """A subscript."""
        return f"{base}_{{{index}}}"

    def accented(self, base: str, accent: str) -> str:
        """A key of `ACCENTS` above a letter."""
        return rf"\{accent}{{{base}}}"

    def sign(self, symbol: str) -> str:
        """An operator."""
        return _LATEX_SIGNS.get(symbol, symbol)

    def row(self, parts: Iterable[str]) -> str:
        """Parts beside one another."""
        return " ".join(filter(None, parts))

    def brackets(self, inside: str, left: str = "(", right: str = ")") -> str:
        """Brackets that grow with what is inside."""
        return rf"\left{left} {inside} \right{right}"

    def fraction(self, above: str, below: str) -> str:
        """A fraction."""
        return rf"\frac{{{above}}}{{{below}}}"

    def root(self, inside: str) -> str:
        """A square root."""
        return rf"\sqrt{{{inside}}}"

    def power(self, base: str, exponent: str) -> str:
        """A superscript."""
        return f"{base}^{{{exponent}}}"

    def call(self, function: str, command: str, arguments: Sequence[str]) -> str:
        """A function of arguments."""
        written = rf"\{command}" if command else rf"\operatorname{{{function}}}"
        return written + self.brackets(", ".join(arguments))

    def cases(self, arms: Sequence[tuple[str, str]]) -> str:
        """Values with their conditions."""
        lines = [
            rf"{value} & \text{{if }} {condition}"
            if condition
            else rf"{value} & \text{{otherwise}}"
            for value, condition in arms
        ]
        return " ".join([r"\begin{cases}", r" \\ ".join(lines), r"\end{cases}"])


class MathML(Typesetter):
    """Presentation MathML: the elements of MathML Core."""

    def text(self) -> str:
        """All assignments, one below the other."""
        lines = ['<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">', "<mtable>"]
        for left, right, condition in self.rows():
            cells = [("right", left), ("center", self.sign("←")), ("left", right)]
            if condition:
                cells.append(("left", f"<mtext>if&#xA0;</mtext>{condition}"))
            row = "".join(f'<mtd style="text-align: {a}">{text}</mtd>' for a, text in cells)
            lines.append(f"<mtr>{row}</mtr>")
        return "\n".join([*lines, "</mtable>", "</math>"])

    def digits(self, text: str) -> str:
        """A number without an exponent."""
        return f"<mn>{text}</mn>"

    def word(self, text: str) -> str:
        """A name of several letters, or of a function."""
        return f"<mi>{escape(text)}</mi>"

    def letter(self, text: str) -> str:
        """A Latin letter, or the name of a Greek one."""
        return f"<mi>{GREEK.get(text, text)}</mi>"

    def below(self, base: str, index: str) -> str:
        """A subscript."""
        return f"<msub>{base}{index}</msub>"

    def accented(self, base: str, accent: str) -> str:
        """A key of `ACCENTS` above a letter."""
        return f'<mover accent="true">{base}<mo>{ACCENTS[accent]}</mo></mover>'

    def sign(self, symbol: str) -> str:
        """An operator; a product without a sign has an invisible one."""
        characters = {"": "&#x2062;", "-": "&#x2212;", "·": "&#x22C5;"}
        return f"<mo>{characters.get(symbol) or escape(symbol)}</mo>"

    def row(self, parts: Iterable[str]) -> str:
        """Parts beside one another."""
        found = [part for part in parts if part]
        return found[0] if len(found) == 1 else f"<mrow>{''.join(found)}</mrow>"

    def brackets(self, inside: str, left: str = "(", right: str = ")") -> str:
        """Brackets that grow with what is inside."""
        form = '<mo form="{}" fence="true" stretchy="true">{}</mo>'
        return f"<mrow>{form.format('prefix', left)}{inside}{form.format('postfix', right)}</mrow>"

    def fraction(self, above: str, below: str) -> str:
        """A fraction."""
        return f"<mfrac>{above}{below}</mfrac>"

    def root(self, inside: str) -> str:
        """A square root."""
        return f"<msqrt>{inside}</msqrt>"

    def power(self, base: str, exponent: str) -> str:
        """A superscript."""
        return f"<msup>{base}{exponent}</msup>"

    def call(self, function: str, command: str, arguments: Sequence[str]) -> str:
        """A function of arguments, with an invisible sign between the two."""
        separator = '<mo separator="true">,</mo>'
        inside = self.row(_between(arguments, separator))
        return self.row([self.word(function), "<mo>&#x2061;</mo>", self.brackets(inside)])

    def cases(self, arms: Sequence[tuple[str, str]]) -> str:
        """Values with their conditions."""
        rows = []
        for value, condition in arms:
            when = (
                f"<mtext>if&#xA0;</mtext>{condition}" if condition else "<mtext>otherwise</mtext>"
            )
            cells = (f'<mtd style="text-align: left">{cell}</mtd>' for cell in (value, when))
            rows.append(f"<mtr>{''.join(cells)}</mtr>")
        brace = '<mo form="prefix" fence="true" stretchy="true">{</mo>'
        return f"<mrow>{brace}<mtable>{''.join(rows)}</mtable></mrow>"
