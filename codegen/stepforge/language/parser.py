"""Whitelisted syntax to expression trees.

The text of a rule is data from strangers: Python's `ast` only splits it into a syntax tree, and a
whitelist with one method per node turns that into ours. Nothing is ever evaluated.

In one file, because it is one visitor, with what it says to each thing that it refuses.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from fractions import Fraction

from stepforge.language import advice
from stepforge.language.diagnostics import Diagnostic, Span, nearest, short
from stepforge.language.expression import Apply, Assign, Expression, If, Name, Number, Statement
from stepforge.language.slips import explain
from stepforge.language.source import KeyPath, Source
from stepforge.language.tokens import (
    Problem,
    Token,
    bracket_problem,
    size_problem,
    tokens,
    word_problems,
)
from stepforge.operations.table import OPERATIONS, author_functions

MAX_RULE = 16 * 1024
MAX_DEPTH = 120
"""Operations inside each other; every term of a sum is one deeper than the last."""
MAX_BLOCKS = 16


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
    ast.TryStar: ("`try`", ""),
    ast.Return: ("`return`", "assigned states and `p` are stored at the end by themselves"),
    ast.Delete: ("`del`", ""),
    ast.Global: ("`global`", ""),
    ast.Nonlocal: ("`nonlocal`", ""),
    ast.Assert: ("`assert`", "give the name a `domain`"),
    ast.Raise: ("`raise`", ""),
    ast.Pass: ("`pass`", "leave the block out"),
    ast.Break: ("`break`", ""),
    ast.Continue: ("`continue`", ""),
    ast.AnnAssign: ("a type annotation", "types are inferred"),
    ast.Match: ("`match`", ""),
    ast.AsyncFor: ("`async`", ""),
    ast.AsyncWith: ("`async`", ""),
    ast.AsyncFunctionDef: ("`async`", ""),
}
_UNKNOWN_OPERATORS: dict[type[ast.operator], str] = {
    ast.FloorDiv: "//", ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|",
    ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip


_MODULES = ("np", "numpy", "torch", "math", "tl", "jnp", "jax", "cp", "F", "sympy", "sp", "tf")


class _Parser:
    def __init__(self, source: Source, path: KeyPath, text: str, out: list[Diagnostic]) -> None:
        self.source = source
        self.path = path
        self.text = text
        self.lines = self.code = text.split("\n")
        self.out = out
        self.shift = 0
        """Columns by which the first line of the parsed text is to the right of the author's."""

    def _span(self, line: int, column: int, end: int) -> Span:
        return self.source.inner_span(self.path, line, column, end)

    def span(self, node: ast.expr | ast.stmt) -> Span:
        line, column, end = self.columns(node)
        return self._span(line, column, end)

    def columns(self, node: ast.expr | ast.stmt) -> tuple[int, int, int]:
        """Line, first column and end of a node, as far as it stands in that line."""
        line = node.lineno
        shift = self.shift if line == 1 else 0
        end = len(self.lines[line - 1])
        if node.end_lineno == line and node.end_col_offset:
            end = node.end_col_offset - shift
        return line, node.col_offset - shift, end

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node without its comments; code is ASCII, so that columns are characters.

        `ast.get_source_segment` splits the whole text anew for each node.
        """
        first, last = node.lineno, node.end_lineno or node.lineno
        lines = self.code[first - 1 : last]
        shifts = [self.shift if line == 1 else 0 for line in (first, last)]
        lines[-1] = lines[-1][: (node.end_col_offset or 0) - shifts[1]]
        lines[0] = lines[0][node.col_offset - shifts[0] :]
        return "\n".join(lines)

    def at(self, token: Token) -> Span:
        end = token.column + len(token.text.split("\n", 1)[0])
        return self._span(token.line, token.column, max(end, token.column + 1))

    def report(self, code: str, message: str, span: Span, help: str = "") -> None:
        self.out.append(self.source.diagnostic(code, message, span, help))

    def reject(self, code: str, message: str, span: Span, help: str = "") -> _Rejected:
        self.report(code, message, span, help)
        return _Rejected()

    def refuse(self, problem: Problem) -> None:
        self.report(problem.code, problem.message, self.at(problem.token), problem.help)

    # Text to syntax tree.

    def syntax(self, mode: str) -> ast.AST | None:
        """The syntax tree of a statement list ("exec") or one expression ("eval")."""
        if len(self.text) > MAX_RULE:
            message = f"the text has {len(self.text)} characters, the limit is {MAX_RULE}"
            self.report("E107", message, self._span(1, 0, 1))
            return None
        found = list(tokens(self.text))
        problems = list(word_problems(found))
        if not problems and (problem := size_problem(found) or bracket_problem(found)):
            problems = [problem]
        if problems:
            for problem in problems:
                self.refuse(problem)
            return None
        words = [t for t in found if t.kind not in ("newline", "comment")]
        if not words:
            if mode == "exec":
                return ast.Module([], [])
            self.report("E101", "the expression is empty", self._span(1, 0, 1))
            return None
        if mode == "eval":
            if comment := next((t for t in found if t.kind == "comment"), None):
                self.report("E101", "a comment cannot stand in this text", self.at(comment))
                return None
            self.shift = 1
        self.code = self._code(found)
        code = "\n".join(self.code)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(f"({code})" if mode == "eval" else code, mode=mode)
        except SyntaxError as error:
            self.refuse(explain(found, error))
        except (MemoryError, RecursionError, ValueError):
            self.report("E108", "the expression is nested too deeply", self.at(words[0]))
        return None

    def _code(self, found: list[Token]) -> list[str]:
        """The lines of the text without comments."""
        lines = list(self.lines)
        for token in found:
            if token.kind == "comment":
                lines[token.line - 1] = lines[token.line - 1][: token.column]
        return lines

    # Statements.

    def block(self, body: list[ast.stmt], depth: int = 0) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for node in body:
            try:
                found.append(self.statement(node, depth))
            except _Rejected:
                continue
        return tuple(found)

    def statement(self, node: ast.stmt, depth: int) -> Statement:
        if isinstance(node, ast.Assign):
            return self.assign(node)
        if isinstance(node, ast.If):
            if depth == MAX_BLOCKS:
                message = f"blocks are nested more than {MAX_BLOCKS} deep"
                raise self.reject("E108", message, self.span(node))
            condition = self.expression(node.test)
            body = self.block(node.body, depth + 1), self.block(node.orelse, depth + 1)
            if condition is None:
                raise _Rejected
            text = self.segment(node.test)
            return If(condition, *body, " ".join(text.split()))
        if isinstance(node, ast.AugAssign):
            raise self.augmented(node)
        if isinstance(node, ast.Expr):
            value = self._checked(node.value)
            message, help = "an expression alone does nothing", "assign it to a name"
            if isinstance(value, Apply) and value.op == "eq":
                help = "assignments are written `=`"
            raise self.reject("E120", message, self.span(node), help)
        what, help = _REJECTED.get(type(node), (f"`{type(node).__name__.lower()}`", ""))
        message = f"{what} is not a statement of the rule language"
        raise self.reject("E120", message, self.span(node), help)

    def augmented(self, node: ast.AugAssign) -> _Rejected:
        """E120 with the assignment that says the same."""
        op = _operation(node.op)
        symbol = OPERATIONS[op].symbol if op else _UNKNOWN_OPERATORS[type(node.op)]
        help = ""
        if op and isinstance(node.target, ast.Name):
            value = self.segment(node.value)
            value = value if isinstance(node.value, ast.Name | ast.Constant) else f"({value})"
            target = node.target.id
            help = f"write `{target} = {target} {symbol} {value if len(value) <= 60 else '…'}`"
        else:
            help = advice.OPERATORS.get(symbol, ("", "powers are written `**`"))[1]
        message = f"`{symbol}=` is not a statement of the rule language"
        return self.reject("E120", message, self.span(node), help)

    def assign(self, node: ast.Assign) -> Assign:
        target = node.targets[0]
        help = "write one statement `name = expression` for each name"
        if len(node.targets) > 1:
            message = "chained assignment is not part of the rule language"
            raise self.reject("E120", message, self.span(node), help)
        if not isinstance(target, ast.Name):
            tuple_ = isinstance(target, ast.Tuple | ast.List)
            help = help if tuple_ else "write `name = expression`"
            raise self.reject("E120", "only a name can be assigned", self.span(target), help)
        value = self._checked(node.value)
        return Assign(target.id, value, self.span(target), " ".join(self.segment(node).split()))

    def _checked(self, node: ast.expr) -> Expression:
        """Bounds the depth of an expression before anything recursive looks at it."""
        # Every level has a character of its own, so that a short expression is never too deep.
        short = node.end_lineno == node.lineno and (node.end_col_offset or 0) < MAX_DEPTH
        if not short and _depth(node) > MAX_DEPTH:
            message = f"more than {MAX_DEPTH} operations are nested in one another"
            help = "give parts of the expression names of their own"
            raise self.reject("E108", message, self.span(node), help)
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

    def visit_Attribute(self, node: ast.Attribute) -> Expression:
        message, help = "attribute access is not part of the rule language", ""
        if node.attr in advice.CONSTANTS:
            help = advice.CONSTANTS[node.attr]
        elif node.attr in author_functions():
            help = f"write `{OPERATIONS[node.attr].usage}`"
        elif node.attr in ("T", "mT"):
            help = advice.OPERATORS["@"][1]
        elif node.attr in advice.FUNCTIONS_OF_OTHERS or node.attr in advice.SAME_AS:
            message, help = self._no_function(node.attr)
        elif node.attr in ("data", "grad"):
            help = "the parameter is `p`, and its gradient is `g`"
        raise self.reject("E102", message, self.span(node), help)

    @staticmethod
    def _no_function(name: str) -> tuple[str, str]:
        """Why there is no function of this name, and what to write."""
        if name in advice.SAME_AS:
            return f"unknown function `{name}`", f"write `{advice.SAME_AS[name]}`"
        why, help = advice.FUNCTIONS_OF_OTHERS.get(name, ("", ""))
        functions = author_functions()
        help = help or nearest(name, functions) or f"there are {', '.join(functions)}"
        unknown = f"unknown function `{short(name)}`"
        return f"{unknown}: {why}" if why else unknown, help

    def visit_Constant(self, node: ast.Constant) -> Expression:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            if isinstance(node.value, str | bytes):
                what = "a string"
            else:
                what = "`...`" if node.value is ... else f"`{node.value}`"
            message = f"{what} is not part of the rule language"
            help = ""
            if isinstance(node.value, bool):
                help = "options and comparisons are conditions by themselves; numbers are 1 and 0"
            raise self.reject("E102", message, self.span(node), help)
        line, column, end = self.columns(node)
        text = self.lines[line - 1][column:end].replace("_", "")
        if text.isdigit() and int(text) >= 2**31:
            text += ".0"  # kernels have no integers of this size
        return Number(text, Fraction(text), self._span(line, column, end))

    def visit_BinOp(self, node: ast.BinOp) -> Expression:
        left, right = self.visit(node.left), self.visit(node.right)
        op = _operation(node.op)
        if op:
            return Apply(op, (left, right), self.span(node))
        symbol = _UNKNOWN_OPERATORS[type(node.op)]
        span = self.between(node.left, symbol, node.right) or self.span(node)
        if symbol == "^":
            raise self.reject("E110", "`^` is exclusive or", span, "powers are written `**`")
        what, help = advice.OPERATORS[symbol]
        raise self.reject("E102", f"`{symbol}` is {what}", span, help)

    def between(self, left: ast.expr, symbol: str, right: ast.expr) -> Span | None:
        """Where an operator stands, if it is on the line of both operands."""
        if left.end_lineno != right.lineno or left.end_col_offset is None:
            return None
        shift = self.shift if right.lineno == 1 else 0
        begin, end = left.end_col_offset - shift, right.col_offset - shift
        at = self.lines[right.lineno - 1].find(symbol, begin, end)
        return self._span(right.lineno, at, at + len(symbol)) if at >= 0 else None

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Expression:
        if isinstance(node.op, ast.UAdd):
            return self.visit(node.operand)
        if isinstance(node.op, ast.Invert):
            message = "`~` is not part of the rule language"
            raise self.reject("E102", message, self.span(node), "write `not`")
        return Apply(_operation(node.op), (self.visit(node.operand),), self.span(node))

    def visit_BoolOp(self, node: ast.BoolOp) -> Expression:
        parts = [self.visit(value) for value in node.values]
        return self._fold(_operation(node.op), parts, self.span(node))

    def visit_Compare(self, node: ast.Compare) -> Expression:
        values = (node.left, *node.comparators)
        if any(isinstance(v, ast.Constant) and isinstance(v.value, bool) for v in values):
            message = "a condition is not compared with `True` or `False`"
            help = "write the condition alone, or `not` before it"
            raise self.reject("E102", message, self.span(node), help)
        operands = [self.visit(value) for value in values]
        parts: list[Expression] = []
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            name = _operation(op)
            if not name:
                identity = isinstance(op, ast.Is | ast.IsNot)
                message, help = "`in` is not part of the rule language", ""
                if identity:
                    message, help = "`is` compares objects, not their values", "write `==` or `!=`"
                raise self.reject("E102", message, self.span(node), help)
            parts.append(Apply(name, (left, right), self.span(node)))
        return self._fold("and", parts, self.span(node))

    def visit_IfExp(self, node: ast.IfExp) -> Expression:
        order = (node.test, node.body, node.orelse)
        return Apply("select", tuple(self.visit(part) for part in order), self.span(node))

    def visit_Call(self, node: ast.Call) -> Expression:
        if not isinstance(node.func, ast.Name):
            raise self.no_name(node, node.func)
        name, span = node.func.id, self.span(node.func)
        if name not in author_functions():
            raise self.reject("E103", self._no_function(name)[0], span, self._no_function(name)[1])
        row = OPERATIONS[name]
        if node.keywords:
            message = f"`{name}` takes no keyword arguments"
            help = f"write `{row.usage}`"
            raise self.reject("E105", message, self.span(node), help)
        args = [self.visit(argument) for argument in node.args]
        arity = row.arity
        variadic = row.folds and len(args) > arity
        if len(args) != arity and not variadic:
            plural = "s" if arity > 1 else ""
            message = f"`{name}` takes {arity} argument{plural}, not {len(args)}"
            help = f"write `{row.usage}`"
            if row.folds and len(args) == 1:
                help += "; there is no extreme of all elements of a tensor yet"
            raise self.reject("E105", message, self.span(node), help)
        if variadic:
            return self._fold(name, args, self.span(node))
        return Apply(name, tuple(args), self.span(node))

    def no_name(self, node: ast.Call, function: ast.expr) -> _Rejected:
        """E102 for a call of something else than a name, such as `np.sqrt(x)` or `x.sqrt()`."""
        if not isinstance(function, ast.Attribute) or function.attr not in author_functions():
            self.visit(function)
            return self.reject("E102", "only functions can be called, by name", self.span(node))
        name, owner = function.attr, function.value
        module = isinstance(owner, ast.Name) and owner.id in _MODULES
        given = [*([] if module else [owner]), *node.args]
        written = f"{name}({', '.join(map(self.segment, given))})"
        written = written if len(written) <= 60 and self.shift == 0 else OPERATIONS[name].usage
        what = "the name of a module" if module else "a tensor and a dot"
        message = f"functions are called without {what} before them"
        return self.reject("E102", message, self.span(function), f"write `{written}`")

    @staticmethod
    def _fold(op: str, parts: list[Expression], span: Span) -> Expression:
        """`a op b op c` as `(a op b) op c`."""
        result = parts[0]
        for part in parts[1:]:
            result = Apply(op, (result, part), span)
        return result


def _operation(operator: ast.AST) -> str:
    """The operation that an operator of Python is, or ""."""
    syntax = type(operator).__name__
    return next((name for name, row in OPERATIONS.items() if row.syntax == syntax), "")


def _depth(node: ast.AST) -> int:
    """How deep expressions are nested below a node, without recursion."""
    deepest = 0
    stack = [(node, 1)]
    while stack:
        current, depth = stack.pop()
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in ast.iter_child_nodes(current))
    return deepest
