"""What is printed as mathematics is read again, as a reader sees it: it is the author's tree."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from catalogue import FEW
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support import small, stock

from stepforge.commands.views import chosen, show
from stepforge.language.diagnostics import SpecError
from stepforge.language.expression import Apply, Assign, Expression, Name, Number
from stepforge.language.typeset import Latex, MathML

Tree = Any
"""A name, a number as text, or a tuple of an operation and its operands."""
Item = tuple[str, Any]
"""An operator ("op") or something that holds together ("atom"), from left to right."""

# What a line of operators and operands means, by the rules that everybody reads by.

_RELATIONS = {"<": "lt", "≤": "le", ">": "gt", "≥": "ge", "=": "eq", "≠": "ne"}


class Line:
    """Reads a line of items."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = list(items)

    def tree(self) -> Tree:
        found = self.chain({"∨": "or"}, self.both)
        assert not self.items, self.items
        return found

    def next(self, symbols: Iterable[str]) -> str:
        if self.items and self.items[0][0] == "op" and self.items[0][1] in symbols:
            return str(self.items.pop(0)[1])
        return ""

    def chain(self, ops: dict[str, str], part: Any) -> Tree:
        left = part()
        while symbol := self.next(ops):
            left = (ops[symbol], left, part())
        return left

    def both(self) -> Tree:
        return self.chain({"∧": "and"}, self.negated)

    def negated(self) -> Tree:
        return ("not", self.negated()) if self.next("¬") else self.compared()

    def compared(self) -> Tree:
        left = self.sum()
        symbol = self.next(_RELATIONS)
        return (_RELATIONS[symbol], left, self.sum()) if symbol else left

    def sum(self) -> Tree:
        left = ("neg", self.product()) if self.next("-") else self.product()
        while symbol := self.next("+-"):
            left = ({"+": "add", "-": "sub"}[symbol], left, self.product())
        return left

    def product(self) -> Tree:
        return self.chain({"·": "mul"}, self.atom)

    def atom(self) -> Tree:
        kind, found = self.items.pop(0)
        assert kind == "atom", (kind, found)
        return found


def called(function: str, arguments: list[Tree]) -> Tree:
    found, *others = arguments
    if function in ("min", "max"):
        for other in others:
            found = (function, found, other)
        return found
    return (function, *arguments)


def of_cases(arms: list[tuple[Tree, Tree]]) -> Tree:
    found = arms[-1][0]
    for value, condition in reversed(arms[:-1]):
        found = ("select", condition, value, found)
    return found


# LaTeX as a line of items.

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+\.?\d*|[^\s]")
_SIGNS = {r"\,": "·", r"\cdot": "·", r"\le": "≤", r"\ge": "≥", r"\ne": "≠", r"\land": "∧",
          r"\lor": "∨", r"\lnot": "¬"}  # fmt: skip


class LatexReader:
    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)

    def take(self, wanted: str) -> None:
        got = self.tokens.pop(0)
        assert got == wanted, (got, wanted, self.tokens)

    def line(self, *ends: str) -> Tree:
        items: list[Item] = []
        while self.tokens and self.tokens[0] not in ends:
            items.append(self.item())
        return Line(items).tree()

    def group(self) -> Tree:
        self.take("{")
        found = self.line("}")
        self.take("}")
        return found

    def plain(self) -> str:
        self.take("{")
        text = ""
        while self.tokens[0] != "}":
            text += self.tokens.pop(0).removeprefix("\\")
        self.take("}")
        return text

    def item(self) -> Item:
        token = self.tokens[0]
        if token in _SIGNS or token in "+-<>=":
            self.tokens.pop(0)
            return "op", _SIGNS.get(token, token)
        base = self.base()
        if self.tokens and self.tokens[0] == "_":
            self.tokens.pop(0)
            base = f"{base}_{self.group()}"
        if self.tokens and self.tokens[0] == "^":
            self.tokens.pop(0)
            base = ("pow", base, self.group())
        return "atom", base

    def base(self) -> Tree:
        token = self.tokens.pop(0)
        match token:
            case r"\frac":
                return ("div", self.group(), self.group())
            case r"\sqrt":
                return ("sqrt", self.group())
            case r"\hat" | r"\bar":
                return f"{self.group()}_{token[1:]}"
            case r"\mathrm":
                return self.plain()
            case r"\min" | r"\max" | r"\exp" | r"\log" | r"\tanh":
                return called(token[1:], self.arguments())
            case r"\operatorname":
                return called(self.plain(), self.arguments())
            case r"\left" if self.tokens[0] == "|":
                self.take("|")
                found = self.line(r"\right")
                self.take(r"\right")
                self.take("|")
                return ("abs", found)
            case r"\left":
                self.tokens.insert(0, token)
                (found,) = self.arguments()
                return found
            case r"\begin":
                return self.cases()
        assert re.fullmatch(r"\\[a-z]+|[A-Za-z]|[\d.]+", token), token
        return token.removeprefix("\\").removeprefix("var")

    def arguments(self) -> list[Tree]:
        self.take(r"\left")
        self.take("(")
        found = [self.line(",", r"\right")]
        while self.tokens[0] == ",":
            self.take(",")
            found.append(self.line(",", r"\right"))
        self.take(r"\right")
        self.take(")")
        return found

    def cases(self) -> Tree:
        assert self.plain() == "cases"
        arms: list[tuple[Tree, Tree]] = []
        while True:
            value = self.line("&")
            self.take("&")
            self.take(r"\text")
            if self.plain() == "otherwise":
                self.take(r"\end")
                assert self.plain() == "cases"
                return of_cases([*arms, (value, None)])
            arms.append((value, self.line(r"\\")))
            self.take(r"\\")


# MathML as a line of items; rows are looked through, because nobody sees them.

_MATHML = "{http://www.w3.org/1998/Math/MathML}"
CORE = {
    "math", "mtable", "mtr", "mtd", "mrow", "mi", "mn", "mo", "mtext", "mfrac", "msqrt", "msup",
    "msub", "mover",
}  # fmt: skip
CHILDREN = {"mfrac": 2, "msup": 2, "msub": 2, "mover": 2}


def tag(element: ElementTree.Element) -> str:
    return element.tag.removeprefix(_MATHML)


def flat(elements: Iterable[ElementTree.Element]) -> Iterator[ElementTree.Element]:
    for element in elements:
        if tag(element) == "mrow":
            yield from flat(element)
        else:
            yield element


def read_mathml(elements: Iterable[ElementTree.Element]) -> Tree:
    return Line(_items(list(flat(elements)))).tree()


def _items(elements: list[ElementTree.Element]) -> Iterator[Item]:
    while elements:
        element = elements.pop(0)
        text = element.text or ""
        if tag(element) != "mo":
            function = elements and elements[0].text == "\u2061"
            if function:
                elements.pop(0)
                elements.pop(0)
                yield "atom", called(text, _until(elements, ")"))
            else:
                yield "atom", _atom(element)
        elif text == "{":
            yield "atom", _cases(elements.pop(0))
        elif element.get("form") == "prefix":
            (inside,) = _until(elements, {"(": ")", "|": "|"}[text])
            yield "atom", ("abs", inside) if text == "|" else inside
        else:
            yield "op", {"\u2062": "·", "\u22c5": "·", "\u2212": "-"}.get(text, text)


def _until(elements: list[ElementTree.Element], closing: str) -> list[Tree]:
    """The parts between here and the bracket that closes, parted by commas."""
    parts: list[list[ElementTree.Element]] = [[]]
    depth = 0
    while True:
        element = elements.pop(0)
        form = element.get("form") if element.get("fence") and element.text != "{" else None
        if form == "postfix" and depth == 0:
            assert element.text == closing
            return [read_mathml(part) for part in parts]
        depth += (form == "prefix") - (form == "postfix")
        if element.get("separator") and depth == 0:
            parts.append([])
        else:
            parts[-1].append(element)


def _atom(element: ElementTree.Element) -> Tree:
    text, inside = element.text or "", list(element)
    match tag(element):
        case "mn":
            return text
        case "mi":
            if len(text) > 1 or text.isascii():
                return text
            return (
                "infty"
                if text == "∞"
                else unicodedata.name(text).split()[-1].lower().replace("lamda", "lambda")
            )
        case "mfrac":
            return ("div", *(read_mathml([child]) for child in inside))
        case "msqrt":
            return ("sqrt", read_mathml(inside))
        case "msup":
            return ("pow", *(read_mathml([child]) for child in inside))
        case "msub":
            return "_".join(str(read_mathml([child])) for child in inside)
        case "mover":
            accent = {"^": "hat", "¯": "bar"}[inside[1].text or ""]
            return f"{read_mathml(inside[:1])}_{accent}"
    raise AssertionError(tag(element))


def _cases(table: ElementTree.Element) -> Tree:
    arms: list[tuple[Tree, Tree]] = []
    for row in table:
        value, (word, *condition) = row
        otherwise = word.text == "otherwise"
        arms.append((read_mathml(value), None if otherwise else read_mathml(condition)))
    return of_cases(arms)


# The author's tree.

_NUMBERED = ("beta", "p", "rho", "t", "tau", "x")
READ_AS = {
    "lambda_": "lambda", "eps": "epsilon", "rho_inf": "rho_infty",
    **{f"{name}{i}": f"{name}_{i}" for name in _NUMBERED for i in range(4)},
}  # fmt: skip
"""What a reader calls the names that are not printed as they are."""
NAMES = [
    "lr",
    "weight_decay",
    "beta1",
    "eps",
    "rho_inf",
    "lambda_",
    "p",
    "g",
    "t",
    "v_hat",
    "v_max",
]


def meant(e: Expression) -> Tree:
    if isinstance(e, Name):
        return READ_AS.get(e.id, e.id)
    if isinstance(e, Number):
        mantissa, _, exponent = e.text.partition("e")
        if not exponent:
            return mantissa
        power = exponent.lstrip("-")
        tens = ("pow", "10", ("neg", power) if exponent.startswith("-") else power)
        return tens if mantissa == "1" else ("mul", mantissa, tens)
    return (e.op, *map(meant, e.args))


def settled(tree: Tree) -> Tree:
    """`(-a)*b` and `-(a*b)` are one number, and are printed alike."""
    if not isinstance(tree, tuple):
        return tree
    op, *args = (tree[0], *map(settled, tree[1:]))
    if op == "mul" and isinstance(args[0], tuple) and args[0][0] == "neg":
        return ("neg", ("mul", args[0][1], args[1]))
    return (op, *args)


@st.composite
def texts(draw: st.DrawFn, depth: int = 3) -> str:
    """An expression with parentheses around every operand."""
    shape = draw(st.sampled_from(["leaf", "infix", "infix", "neg", "pow", "call", "three", "if"]))
    if depth == 0 or shape == "leaf":
        return draw(st.sampled_from([*NAMES, "1", "2", "0.5", "10", "1e-8", "2.5e-3", "3e4"]))
    a, b, c = (draw(texts(depth - 1)) for _ in "abc")
    match shape:
        case "infix":
            return f"({a}){draw(st.sampled_from('+-*/'))}({b})"
        case "neg":
            return f"-({a})"
        case "pow":
            return f"({a})**{draw(st.sampled_from(['2', '-3', '0.5']))}"
        case "call":
            return f"{draw(st.sampled_from(['sqrt', 'abs', 'exp', 'log', 'sign']))}({a})"
        case "three":
            return f"{draw(st.sampled_from(['min', 'max', 'clip']))}({a}, {b}, {c})"
    return f"({a}) if {draw(conditions(depth - 1))} else ({b})"


@st.composite
def conditions(draw: st.DrawFn, depth: int) -> str:
    shape = draw(st.sampled_from(["compared", "not", "and", "or"]))
    if depth == 0 or shape == "compared":
        relation = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
        return f"({draw(texts(depth))}) {relation} ({draw(texts(depth))})"
    first = draw(conditions(depth - 1))
    return (
        f"not ({first})" if shape == "not" else f"({first}) {shape} ({draw(conditions(depth - 1))})"
    )


STATES = {"v_hat": "", "v_max": ""}
HYPERPARAMETERS = NAMES[:6]


USED = f"v_hat = g\nv_max = v_max + {'*'.join(HYPERPARAMETERS)}*g\np = p - v_max"


def both(rule: str) -> tuple[Expression, Tree, Tree]:
    """The expression of the last assignment, and what is read in LaTeX and in MathML."""
    made = small(rule, hyperparameters=HYPERPARAMETERS, state=STATES)
    last = made.rule[-1]
    assert isinstance(last, Assign)
    latex = Latex(made).expression(last.value)
    markup = MathML(made).expression(last.value)
    root = ElementTree.fromstring(f'<math xmlns="{_MATHML[1:-1]}">{markup}</math>')
    return last.value, LatexReader(latex).line(), read_mathml(root)


@settings(max_examples=300)
@given(texts())
def test_what_is_printed_reads_as_the_authors_tree(text: str) -> None:
    try:
        value, latex, mathml = both(f"{USED}\np = {text} + p")
    except SpecError:
        reject()  # a constant without a value, such as 1/0
    assert settled(latex) == settled(meant(value))
    assert settled(mathml) == settled(meant(value))


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a + (b - c)", r"a + \left( b - c \right)"),
        ("a - b - c", "a - b - c"),
        ("b + a", "b + a"),
        ("a*(b*c)", r"a \, \left( b \, c \right)"),
        ("a/b*c", r"\frac{a}{b} \, c"),
        ("a/(b*c)", r"\frac{a}{b \, c}"),
        ("(a + b)*c", r"\left( a + b \right) \, c"),
        ("2*3*a", r"2 \cdot 3 \, a"),
        ("2*(1/3)", r"2 \cdot \frac{1}{3}"),
        ("a*1e-8", r"a \cdot 10^{- 8}"),
        ("a*-b", r"a \, \left( - b \right)"),
        ("a - -b", r"a - \left( - b \right)"),
        ("-a**2", r"- a^{2}"),
        ("(-a)**2", r"\left( - a \right)^{2}"),
        ("(a/b)**2", r"\left( \frac{a}{b} \right)^{2}"),
        ("sqrt(a)**3", r"\sqrt{a}^{3}"),
        ("abs(a - b)", r"\left| a - b \right|"),
        ("max(a, b, c)", r"\max\left( a, b, c \right)"),
        ("max(a, max(b, c))", r"\max\left( a, \max\left( b, c \right) \right)"),
        (
            "a if b < c else 1",
            r"\begin{cases} a & \text{if } b < c \\ 1 & \text{otherwise} \end{cases}",
        ),
    ],
)  # fmt: skip
def test_latex_is_what_one_would_write(text: str, latex: str) -> None:
    made = small(f"x = {text}\np = p - x*g", hyperparameters=["a", "b", "c"])
    first = made.rule[0]
    assert isinstance(first, Assign)
    assert Latex(made).expression(first.value) == latex


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("beta1", r"\beta_{1}"), ("beta_2", r"\beta_{2}"), ("v_hat", r"\hat{v}"),
        ("m_bar", r"\bar{m}"), ("v_max", r"v_{\mathrm{max}}"), ("lr", r"\mathrm{lr}"),
        ("eps", r"\varepsilon"), ("lambda_", r"\lambda"),
        ("weight_decay", r"\mathrm{weight\_decay}"),
        ("v_hat_max", r"\hat{v}_{\mathrm{max}}"), ("momentum_hat", r"\hat{\mathrm{momentum}}"),
        ("rho_inf", r"\rho_{\infty}"), ("x2y", r"\mathrm{x2y}"), ("w_1_k", r"w_{1 , k}"),
    ],
)  # fmt: skip
def test_names_are_typeset_as_the_field_does(name: str, latex: str) -> None:
    made = small(f"{name} = g\np = p - lr*{name}" if name != "lr" else "p = p - lr*g")
    assert Latex(made).shown[name] == latex


def test_no_two_names_look_alike() -> None:
    made = small("beta_1 = g\np = p - beta1*beta_1", hyperparameters=["beta1"])
    assert Latex(made).shown["beta1"] == r"\beta_{1}"
    assert Latex(made).shown["beta_1"] == r"\mathrm{beta\_1}"


@pytest.mark.parametrize("name", FEW)
def test_stock_rules_are_the_authors_line_by_line(name: str) -> None:
    made = stock(name)
    text = show(made, "latex").split("\n")
    root = ElementTree.fromstring(show(made, "mathml"))
    elements = {tag(element) for element in root.iter()}
    assert elements <= CORE
    for element in root.iter():
        wanted = CHILDREN.get(tag(element))
        assert wanted is None or len(element) == wanted
    rows = [row for table in root for row in table]
    printed = list(Latex(made).rows())
    assert len(rows) == len(printed) == len(text) - 2
    pending = list(made.rule)
    values: list[Expression] = []
    while pending:
        statement = pending.pop(0)
        if isinstance(statement, Assign):
            values.append(statement.value)
        else:
            pending[:0] = [*statement.body, *statement.orelse]
    for (left, right, _), row, line, value in zip(printed, rows, text[1:-1], values, strict=True):
        assert line.startswith(rf"  {left} &\leftarrow {right}")
        wanted = settled(meant(value))
        assert settled(LatexReader(right).line()) == wanted
        assert settled(read_mathml(row[2])) == wanted


def test_blocks_are_conditions_of_their_assignments() -> None:
    rule = "if a:\n    g = -g\nelif b:\n    g = 2*g\nelse:\n    g = 3*g\np = p - lr*g"
    made = small(rule, options=("a", "b"))
    conditions = [condition for _, _, condition in Latex(made).rows()]
    assert conditions == ["a", r"\lnot a \land b", r"\lnot a \land \lnot b", ""]
    on = Latex(made, chosen(made, ["b"])).text()
    assert "if" not in on
    assert r"g &\leftarrow 2 \, g" in on


def test_a_choice_by_an_option_that_is_made_is_not_shown() -> None:
    made = small("p = p - lr*(-g if up else g)**2", options=("up",))
    assert r"\left( - g \right)^{2}" in Latex(made, {"up": True}).text()
    assert r"p - \mathrm{lr} \, g^{2}" in Latex(made, {"up": False}).text()
    assert "cases" in Latex(made).text()


def test_apply_is_printed_whatever_its_operation() -> None:
    from stepforge.operations.table import OPERATIONS

    made = small("p = p - lr*g")
    span = made.rule[-1].name_span  # type: ignore[union-attr]
    for op, operation in OPERATIONS.items():
        value = Apply(
            op, (Name("p", span), Name("g", span), Name("t", span))[: operation.arity], span
        )
        assert Latex(made).expression(value)
        ElementTree.fromstring(MathML(made).row(["<mi>x</mi>", MathML(made).expression(value)]))
