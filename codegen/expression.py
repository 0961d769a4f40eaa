"""Whitelisted syntax to expression trees in source order.

The text of a rule is data from strangers: Python's `ast` only splits it into a syntax tree, and a
whitelist with one method per node turns that into ours. Nothing is ever evaluated. The tree keeps
the order of operations as written, which is what runs; `codegen.mathematics` gives it its SymPy
meaning.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from codegen.diagnostics import Diagnostic, Span, nearest
from codegen.operations import FUNCTIONS, OPERATIONS
from codegen.source import KeyPath, Source

MAX_RULE = 32 * 1024
MAX_LINE = 4000
MAX_NODES = 500
MAX_DEPTH = 60
MAX_DIGITS = 40
MAX_EXPONENT = 300


@dataclass(frozen=True, slots=True)
class Number:
    """A literal: its text as written and its exact value."""

    text: str
    value: Fraction
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A hyperparameter, option, state, local, or one of `p`, `g`, `t`."""

    id: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation of `codegen.operations.OPERATIONS` applied to its arguments, in order."""

    op: str
    args: tuple[Expression, ...]
    span: Span = field(compare=False)


Expression = Number | Name | Apply


@dataclass(frozen=True, slots=True)
class Assign:
    """`name = value`."""

    name: str
    value: Expression
    name_span: Span
    text: str
    """The statement as the author wrote it."""


@dataclass(frozen=True, slots=True)
class If:
    """A block on options; `elif` is an `If` in `orelse`."""

    condition: Expression
    body: tuple[Statement, ...]
    orelse: tuple[Statement, ...]


Statement = Assign | If


def names(expression: Expression) -> Iterator[Name]:
    """The names of an expression, left to right."""
    if isinstance(expression, Name):
        yield expression
    elif isinstance(expression, Apply):
        for argument in expression.args:
            yield from names(argument)


def assignments(statements: tuple[Statement, ...]) -> Iterator[Assign]:
    """Every assignment of a rule, in source order, whatever the options."""
    for statement in statements:
        if isinstance(statement, Assign):
            yield statement
        else:
            yield from assignments(statement.body)
            yield from assignments(statement.orelse)


def parse_expression(
    source: Source, path: KeyPath, text: str, out: list[Diagnostic]
) -> Expression | None:
    """Parses one expression that stands as a string value at `path`; None after an error."""
    parser = _Parser(source, path, text, out)
    tree = parser.syntax("eval")
    return parser.expression(tree.body) if isinstance(tree, ast.Expression) else None


def parse_rule(
    source: Source, path: KeyPath, text: str, out: list[Diagnostic]
) -> tuple[Statement, ...]:
    """Parses the statements of a rule; those with errors are left out."""
    parser = _Parser(source, path, text, out)
    tree = parser.syntax("exec")
    return parser.block(tree.body) if isinstance(tree, ast.Module) else ()


Visitor = Callable[[ast.expr], Expression]


class _Rejected(Exception):
    """Unwinds to the statement after its diagnostic was written."""


_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}
_REJECTED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Attribute: ("attribute access", ""),
    ast.Subscript: ("indexing", "a state is one tensor; declare another state"),
    ast.Lambda: ("`lambda`", ""),
    ast.ListComp: ("a list comprehension", ""),
    ast.GeneratorExp: ("a generator expression", ""),
    ast.SetComp: ("a set comprehension", ""),
    ast.DictComp: ("a dict comprehension", ""),
    ast.List: ("a list", ""),
    ast.Tuple: ("a tuple", "write one statement for each value"),
    ast.Set: ("a set", ""),
    ast.Dict: ("a dict", ""),
    ast.JoinedStr: ("an f-string", ""),
    ast.NamedExpr: ("`:=`", "assign in a statement of its own"),
    ast.Await: ("`await`", ""),
    ast.Yield: ("`yield`", ""),
    ast.YieldFrom: ("`yield`", ""),
    ast.Starred: ("`*` unpacking", ""),
    ast.For: ("a `for` loop", "the rule is one step for all elements at once"),
    ast.While: ("a `while` loop", "the rule is one step for all elements at once"),
    ast.FunctionDef: ("a function definition", ""),
    ast.ClassDef: ("a class definition", ""),
    ast.Import: ("`import`", ""),
    ast.ImportFrom: ("`import`", ""),
    ast.With: ("`with`", ""),
    ast.Try: ("`try`", ""),
    ast.Return: ("`return`", "assigned states and `p` are stored at the end by themselves"),
    ast.Delete: ("`del`", ""),
    ast.Global: ("`global`", ""),
    ast.Assert: ("`assert`", "give the name a `domain`"),
    ast.Raise: ("`raise`", ""),
    ast.Pass: ("`pass`", "leave the block out"),
    ast.AnnAssign: ("a type annotation", "types are inferred"),
    ast.Match: ("`match`", ""),
}
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "η": "eta", "θ": "p",
    "λ": "lambda_", "μ": "mu", "ν": "nu", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi",
    "−": "-", "×": "*", "·": "*", "²": "**2", "√": "sqrt",
}  # fmt: skip
_DECIMAL = re.compile(r"(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE]([+-]?\d+))?\Z")
_FUNCTION_ALIASES = {
    "fabs": "abs", "maximum": "max", "minimum": "min", "Max": "max", "Min": "min",
    "Abs": "abs", "clamp": "clip", "ln": "log", "sgn": "sign", "rsqrt": "sqrt", "pow": "**",
    "square": "**2", "where": "x if c else y",
}  # fmt: skip


class _Parser:
    def __init__(self, source: Source, path: KeyPath, text: str, out: list[Diagnostic]) -> None:
        self.source = source
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self.out = out

    def _span(self, line: int, column: int, end: int) -> Span:
        return self.source.inner_span(self.path, line, column, end)

    def span(self, node: ast.expr | ast.stmt) -> Span:
        last = node.end_lineno == node.lineno
        end = node.end_col_offset if last else len(self.lines[node.lineno - 1])
        return self._span(node.lineno, node.col_offset, end or node.col_offset + 1)

    def report(self, code: str, message: str, span: Span, help: str = "") -> None:
        self.out.append(self.source.diagnostic(code, message, span, help))

    def reject(self, code: str, message: str, span: Span, help: str = "") -> _Rejected:
        self.report(code, message, span, help)
        return _Rejected()

    # Text to syntax tree, within bounds that Python's own parser can bear.

    def syntax(self, mode: str) -> ast.AST | None:
        if not self._bounded() or not self._ascii():
            return None
        text = self.text if mode == "exec" else self.text.strip()
        if mode == "eval":
            indent = len(self.text) - len(self.text.lstrip())
            text = "(" + " " * (indent - 1) + text if indent else text
            text = text + ")" if indent else text
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(text, mode=mode)
        except SyntaxError as error:
            line, column = error.lineno or 1, (error.offset or 1) - 1
            line = min(line, len(self.lines))
            column = max(0, min(column, len(self.lines[line - 1])))
            end = error.end_offset - 1 if error.end_offset and error.end_lineno == line else 0
            message = error.msg.split(". Perhaps")[0].split(". Maybe")[0]
            message = message[0].lower() + message[1:]
            hint = "comparisons are written `==`" if "==" in error.msg else ""
            span = self._span(line, column, max(end, column + 1))
            self.report("E101", f"cannot read the expression: {message}", span, hint)
        except (MemoryError, RecursionError, ValueError):
            self.report("E108", "the expression is nested too deeply", self._span(1, 0, 1))
        return None

    def _bounded(self) -> bool:
        if len(self.text) > MAX_RULE:
            message = f"the rule has {len(self.text)} characters, the limit is {MAX_RULE}"
            self.report("E107", message, self._span(1, 0, len(self.lines[0])))
            return False
        depth = 0
        for number, line in enumerate(self.lines, 1):
            code = line.split("#", 1)[0]
            if len(code) > MAX_LINE:
                message = f"the line has {len(code)} characters, the limit is {MAX_LINE}"
                help = "give parts of the expression names of their own"
                self.report("E107", message, self._span(number, 0, 1), help)
                return False
            for column, character in enumerate(code):
                depth += (character in "([{") - (character in ")]}")
                if depth > MAX_DEPTH:
                    message = f"parentheses are nested more than {MAX_DEPTH} deep"
                    self.report("E108", message, self._span(number, column, column + 1))
                    return False
        return True

    def _ascii(self) -> bool:
        good = True
        for number, line in enumerate(self.lines, 1):
            code = line.split("#", 1)[0]
            for match in re.finditer(r"[^\x00-\x7f]+", code):
                instead = "".join(_GREEK.get(c, "?") for c in match[0])
                help = "" if "?" in instead else f"write `{instead}`"
                shown = match[0] if match[0].isprintable() else repr(match[0])
                message = f"`{shown}` is not ASCII"
                self.report("E112", message, self._span(number, match.start(), match.end()), help)
                good = False
            for match in re.finditer(r"[\x00-\x08\x0b-\x1f\x7f]", code):
                span = self._span(number, match.start(), match.end())
                self.report("E101", f"control character {match[0]!r}", span)
                good = False
        return good

    # Statements.

    def block(self, body: list[ast.stmt]) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        for node in body:
            try:
                statements.append(self.statement(node))
            except _Rejected:
                continue
        return tuple(statements)

    def statement(self, node: ast.stmt) -> Statement:
        if isinstance(node, ast.Assign):
            return self.assign(node)
        if isinstance(node, ast.If):
            condition = self._checked(node.test)
            return If(condition, self.block(node.body), self.block(node.orelse))
        if isinstance(node, ast.AugAssign):
            target = node.target.id if isinstance(node.target, ast.Name) else "p"
            symbol = self._operator_text(node)
            raise self.reject(
                "E120",
                f"`{symbol}=` is not a statement of the rule language",
                self.span(node),
                f"write `{target} = {target} {symbol} …`",
            )
        if isinstance(node, ast.Expr):
            self._checked(node.value)
            message = "an expression alone does nothing"
            raise self.reject("E120", message, self.span(node), "assign it to a name")
        what, help = _REJECTED.get(type(node), (f"`{type(node).__name__.lower()}`", ""))
        message = f"{what} is not a statement of the rule language"
        raise self.reject("E120", message, self.span(node), help)

    def _operator_text(self, node: ast.AugAssign) -> str:
        op = _BINARY.get(type(node.op))
        return OPERATIONS[op].symbol if op else "?"

    def assign(self, node: ast.Assign) -> Assign:
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Name):
            what = "chained assignment" if len(node.targets) > 1 else "this target"
            span = self.span(target)
            help = "write one statement `name = expression` for each name"
            raise self.reject("E120", f"{what} is not a statement of the rule language", span, help)
        value = self._checked(node.value)
        text = ast.get_source_segment(self.text, node) or target.id
        return Assign(target.id, value, self.span(target), " ".join(text.split()))

    def _checked(self, node: ast.expr) -> Expression:
        """Bounds the size of an expression before anything recursive looks at it."""
        count, depth = _size(node)
        if count > MAX_NODES:
            message = f"the expression has {count} parts, the limit is {MAX_NODES}"
            help = "give parts of the expression names of their own"
            raise self.reject("E107", message, self.span(node), help)
        if depth > 2 * MAX_DEPTH:
            raise self.reject("E108", "the expression is nested too deeply", self.span(node))
        return self.visit(node)

    def expression(self, node: ast.expr) -> Expression | None:
        try:
            return self._checked(node)
        except _Rejected:
            return None

    # Expressions: one method for every node that is allowed.

    def visit(self, node: ast.expr) -> Expression:
        method: Visitor | None = getattr(self, f"visit_{type(node).__name__}", None)
        if method is not None:
            return method(node)
        what, help = _REJECTED.get(type(node), (f"`{type(node).__name__}`", ""))
        message = f"{what} is not part of the rule language"
        raise self.reject("E102", message, self.span(node), help)

    def visit_Name(self, node: ast.Name) -> Expression:
        return Name(node.id, self.span(node))

    def visit_Constant(self, node: ast.Constant) -> Expression:
        span = self.span(node)
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            what = "a text" if isinstance(node.value, str | bytes) else f"`{node.value}`"
            help = "imaginary numbers are not supported" if isinstance(node.value, complex) else ""
            raise self.reject("E102", f"{what} is not part of the rule language", span, help)
        text = self.lines[node.lineno - 1][node.col_offset : node.end_col_offset]
        match = _DECIMAL.match(text)
        digits = re.sub(r"[eE].*|\D", "", text)
        if match is None or len(digits) > MAX_DIGITS or abs(int(match[1] or 0)) > MAX_EXPONENT:
            message = f"`{text[:30]}{'…' if len(text) > 30 else ''}` is out of range"
            help = f"numbers are decimal, with at most {MAX_DIGITS} digits and 1e±{MAX_EXPONENT}"
            raise self.reject("E106", message, span, help)
        return Number(text.replace("_", ""), Fraction(text.replace("_", "")), span)

    def visit_BinOp(self, node: ast.BinOp) -> Expression:
        left, right = self.visit(node.left), self.visit(node.right)
        op = _BINARY.get(type(node.op))
        if op is not None:
            return Apply(op, (left, right), self.span(node))
        if isinstance(node.op, ast.BitXor):
            help = "powers are written `**`"
            raise self.reject("E110", "`^` is exclusive or", self.span(node), help)
        symbols = {ast.Mod: "%", ast.FloorDiv: "//", ast.MatMult: "@", ast.BitAnd: "&"}
        symbol = symbols.get(type(node.op), "this operator")
        help = "write `and`" if isinstance(node.op, ast.BitAnd) else ""
        message = f"`{symbol}` is not part of the rule language"
        raise self.reject("E102", message, self.span(node), help)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Expression:
        if isinstance(node.op, ast.UAdd):
            return self.visit(node.operand)
        if isinstance(node.op, ast.Invert):
            message = "`~` is not part of the rule language"
            raise self.reject("E102", message, self.span(node), "write `not`")
        op = "neg" if isinstance(node.op, ast.USub) else "not"
        return Apply(op, (self.visit(node.operand),), self.span(node))

    def visit_BoolOp(self, node: ast.BoolOp) -> Expression:
        op = "and" if isinstance(node.op, ast.And) else "or"
        return self._fold(op, [self.visit(value) for value in node.values], self.span(node))

    def visit_Compare(self, node: ast.Compare) -> Expression:
        operands = [self.visit(value) for value in (node.left, *node.comparators)]
        parts: list[Expression] = []
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            name = _COMPARE.get(type(op))
            if name is None:
                message = "`is` and `in` are not part of the rule language"
                raise self.reject("E102", message, self.span(node), "write `==` or `!=`")
            parts.append(Apply(name, (left, right), self.span(node)))
        return self._fold("and", parts, self.span(node))

    def visit_IfExp(self, node: ast.IfExp) -> Expression:
        order = (node.test, node.body, node.orelse)
        return Apply("select", tuple(self.visit(part) for part in order), self.span(node))

    def visit_Call(self, node: ast.Call) -> Expression:
        if not isinstance(node.func, ast.Name):
            self.visit(node.func)
            message = "only functions can be called, by name"
            raise self.reject("E102", message, self.span(node))
        name, span = node.func.id, self.span(node.func)
        if name not in FUNCTIONS:
            alias = _FUNCTION_ALIASES.get(name)
            help = f"write `{alias}`" if alias else nearest(name, FUNCTIONS)
            help = help or f"there are {', '.join(FUNCTIONS)}"
            raise self.reject("E103", f"unknown function `{name}`", span, help)
        if node.keywords:
            message = f"`{name}` takes no keyword arguments"
            raise self.reject("E105", message, self.span(node))
        args = [self.visit(argument) for argument in node.args]
        arity = OPERATIONS[name].arity
        variadic = name in ("min", "max") and len(args) > arity
        if len(args) != arity and not variadic:
            plural = "s" if arity > 1 else ""
            message = f"`{name}` takes {arity} argument{plural}, not {len(args)}"
            raise self.reject("E105", message, self.span(node))
        if variadic:
            return self._fold(name, args, self.span(node))
        return Apply(name, tuple(args), self.span(node))

    @staticmethod
    def _fold(op: str, parts: list[Expression], span: Span) -> Expression:
        """`a op b op c` as `(a op b) op c`."""
        result = parts[0]
        for part in parts[1:]:
            result = Apply(op, (result, part), span)
        return result


def _size(node: ast.AST) -> tuple[int, int]:
    """Number of expressions below a node and their greatest depth, without recursion."""
    count = deepest = 0
    stack = [(node, 1)]
    while stack:
        current, depth = stack.pop()
        count, deepest = count + isinstance(current, ast.expr), max(deepest, depth)
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(current))
    return count, deepest
