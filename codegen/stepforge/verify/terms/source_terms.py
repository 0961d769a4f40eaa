"""Generated Python as terms: `step` of a file run on symbols, its branches joined.

Understands the Python that generated files consist of: assignments, choices, arithmetic, NumPy on
whole arrays, calls of functions of the same file. Python's floats are float64 and weak: with an
array they are rounded once to its type, as NumPy 2 does it. Everything else is `Unsupported` with
its line; a file that can be read to the end is one without loops or hidden state.

In one file, because it is one interpreter, with the functions that it knows.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepforge.language.names import CHECKED
from stepforge.operations.table import OPERATIONS
from stepforge.verify.terms import rule, terms
from stepforge.verify.terms.computed import Conditions
from stepforge.verify.terms.integers import OF_FLOAT, OF_INTEGER, NoInteger, integer
from stepforge.verify.terms.lifted import Unsupported
from stepforge.verify.terms.offsets import SIZE, Offset, number
from stepforge.verify.terms.terms import FLOATS, INTEGERS, Term, apply

LARGEST_INTEGER = 2**53
"""Whole numbers up to here are float64 numbers, so that Python's integers can be floats."""
MAX_DEPTH = 200
"""Of nested expressions and calls."""


@dataclass(frozen=True, slots=True)
class Value:
    """A number or condition: Python's own if `weak`, else an array's element of the term's kind."""

    term: Term
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Dtype:
    """A type of NumPy."""

    kind: str


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer of Python that is passed on; nothing is computed with it before it is a float.

    Attributes:
        term: What it is in float64.
    """

    term: Term


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that is passed on; nothing is computed with it."""

    name: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of tensors that is passed on, or what it holds: "programs", or "types" of a column.

    Attributes:
        part: The attribute; "" for the table itself.
        column: Of `types`.
    """

    part: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class Programs:
    """`cdiv(n, block)`: the grid of a launch."""

    size: Offset
    block: int


@dataclass(frozen=True, slots=True)
class Library:
    """A module, or something in it, by its dotted name."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A launch: `kernel[grid](…)`."""

    kernel: str
    grid: Any
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    line: int


class _Returned(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


Scope = dict[str, Any]


class Source(Conditions):
    """A generated file, whose functions can be run on symbols.

    Attributes:
        functions: Its functions by name.
        origin: The first line that computes a term.
        launches: Kernel launches so far.
        raising: Numbers of the host that Python may have none for, such as those that it divides
            by zero for, and the lines that compute them first.
    """

    def __init__(self, text: str) -> None:
        """Reads the text; raises `Unsupported` if it is not Python or does more at import."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Unsupported(getattr(error, "lineno", 0) or 0, "the file is not Python") from None
        self.functions: dict[str, ast.FunctionDef] = {}
        self.globals: Scope = {}
        self.origin: dict[Term, int] = {}
        self.launches: list[Call] = []
        self.raising: list[tuple[Term, tuple[Term, ...], int]] = []
        self.depth = 0
        for node in tree.body:
            self._top_level(node)

    def _top_level(self, node: ast.stmt) -> None:
        for name in _bound(node):
            if name in self.functions or name in self.globals:
                raise Unsupported(node.lineno, f"`{name}` is bound twice")
        match node:
            case ast.FunctionDef():
                self.functions[node.name] = node
            case ast.Import():
                for alias in node.names:
                    name = alias.asname or alias.name.split(".")[0]
                    self.globals[name] = Library(alias.name if alias.asname else name)
            case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="__future__"):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]):
                self.globals[name] = self.expression(node.value, {})
            case _:
                raise Unsupported(node.lineno, "a statement outside of functions")

    def run(self, function: str, given: Mapping[str, Any]) -> Any:
        """Runs a function whose parameters have these values.

        Raises:
            Unsupported: It is missing, or holds what is not understood.
        """
        found = self.functions.get(function)
        if found is None:
            raise Unsupported(0, f"no function `{function}`")
        names = [a.arg for a in (*found.args.args, *found.args.kwonlyargs)]
        # It has no value here, so that nothing can follow from it but an exception.
        names = [name for name in names if name != CHECKED]
        if sorted(names) != sorted(given):
            odd = sorted(set(names) ^ set(given))[0]
            raise Unsupported(found.lineno, f"`{function}`: argument `{odd}`")
        return self._body(found, dict(given))

    def _body(self, function: ast.FunctionDef, scope: Scope) -> Any:
        # What a function assigns is its own from its first line on, as in Python.
        own = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and _is_stored(n)}
        scope |= dict.fromkeys(own - scope.keys(), _UNBOUND)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unsupported(function.lineno, "functions that call themselves")
        try:
            self.block(function.body, scope)
        except _Returned as returned:
            return returned.value
        finally:
            self.depth -= 1
        return None

    # Statements.

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> None:
        """Runs statements."""
        for statement in body:
            self.statement(statement, scope)

    def statement(self, s: ast.stmt, scope: Scope) -> None:
        """Runs one statement."""
        if self.only_raises(s):
            return
        match s:
            case ast.Assign(targets=[target]):
                self.assign(target, self.expression(s.value, scope), scope)
            case ast.AugAssign(target=ast.Name(id=name)):
                operands = self.name(name, scope, s), self.expression(s.value, scope)
                if not self.number(operands[0], s).weak:
                    raise Unsupported(s.lineno, "an array that is changed in place")
                scope[name] = self.binary(type(s.op), *operands, s)
            case ast.If():
                self.choice(s, scope)
            case ast.Return(value=value):
                raise _Returned(None if value is None else self.expression(value, scope))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=ast.Call() as call):
                self.expression(call, scope)
            case _:
                raise Unsupported(s.lineno, f"the statement `{type(s).__name__.lower()}`")

    def only_raises(self, s: ast.stmt) -> bool:
        """Whether a statement refuses inputs and does nothing else.

        A check of a generated file calls only what looks at a value, and binds only what it goes
        through in a loop. Whether it refuses the right numbers is tried elsewhere.
        """
        match s:
            case ast.Raise():
                return True
            case ast.If(test=test, body=body, orelse=orelse) if body and self.only_looks(test):
                return all(map(self.only_raises, [*body, *orelse]))
            case ast.For(iter=of, body=body, orelse=[]) if self.only_looks(of):
                return all(map(self.only_raises, body))
        return False

    def only_looks(self, e: ast.expr) -> bool:
        """Whether an expression changes nothing."""
        for node in ast.walk(e):
            match node:
                case ast.NamedExpr() | ast.Await() | ast.Yield() | ast.YieldFrom():
                    return False
                case ast.Call(func=ast.Attribute(attr=name)) if name in _LOOKS:
                    pass
                case ast.Call(func=ast.Name(id=name)):
                    called = self.globals.get(name, Library(name))
                    if name in self.functions or called != Library("int"):
                        return False
                case ast.Call():
                    return False
        return True

    def assign(self, target: ast.expr, value: Any, scope: Scope) -> None:
        """Binds a name, several, or an entry of a dictionary."""
        match target:
            case ast.Name(id=name):
                scope[name] = value
            case ast.Tuple(elts=parts) if isinstance(value, tuple) and len(value) == len(parts):
                for part, item in zip(parts, value, strict=True):
                    self.assign(part, item, scope)
            case ast.Subscript(value=ast.Name(id=name)):
                holder, key = scope.get(name), self.expression(target.slice, scope)
                if not isinstance(holder, dict) or not isinstance(key, str):
                    raise Unsupported(target.lineno, f"an assignment into `{name}`")
                holder[key] = value
            case _:
                raise Unsupported(target.lineno, "an assignment to no name")

    def choice(self, s: ast.If, scope: Scope) -> None:
        """One branch if the condition is known, else both, joined."""
        condition = self.truth(self.expression(s.test, scope), s)
        if isinstance(condition, bool):
            self.block(s.body if condition else s.orelse, scope)
            return
        before = len(self.launches)
        left, right = _copied(scope), _copied(scope)
        try:
            with self.where(condition):
                self.block(s.body, left)
            with self.where(apply("not", condition)):
                self.block(s.orelse, right)
        except _Returned:
            raise Unsupported(s.lineno, "a return under a condition on values") from None
        if len(self.launches) > before:
            raise Unsupported(s.lineno, "a launch under a condition on values")
        joined = self.join(condition, left, right, s)
        for name, value in scope.items():
            if isinstance(value, dict):
                value.clear()
                value.update(joined[name])
                joined[name] = value
        scope.update(joined)

    def join(self, condition: Term, left: Scope, right: Scope, node: ast.AST) -> Scope:
        """What names have after a choice; those that one branch lacks are left out."""
        joined: Scope = {}
        for name, a in left.items():
            if name not in right:
                continue
            b = right[name]
            if a is _UNBOUND or b is _UNBOUND:
                joined[name] = _UNBOUND
            elif isinstance(a, dict) and isinstance(b, dict):
                joined[name] = self.join(condition, a, b, node)
            else:
                joined[name] = a if _same(a, b) else self.select(condition, a, b, node)
        return joined

    def select(self, condition: Term, a: Any, b: Any, node: ast.AST) -> Value:
        """One of two numbers."""
        x, y = self.number(a, node), self.number(b, node)
        if x.weak != y.weak or (not x.weak and x.term.kind != y.term.kind):
            raise Unsupported(_line(node), "a choice between values of different types")
        return self.noted(apply("select", condition, x.term, y.term), x.weak, node)

    # Expressions.

    def expression(self, e: ast.expr, scope: Scope) -> Any:
        """The value of an expression."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unsupported(e.lineno, "an expression that is nested too deeply")
        try:
            return self._expression(e, scope)
        finally:
            self.depth -= 1

    def _expression(self, e: ast.expr, scope: Scope) -> Any:
        match e:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.name(name, scope, e)
            case ast.Attribute(value=inner, attr=attribute):
                return self.attribute(self.expression(inner, scope), attribute, e)
            case ast.Tuple(elts=parts):
                return tuple(self.expression(part, scope) for part in parts)
            case ast.Dict(keys=[], values=[]):
                return {}
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self.expression(left, scope), self.expression(right, scope)
                return self.binary(type(op), a, b, e)
            case ast.UnaryOp(op=op, operand=operand):
                return self.unary(type(op), self.expression(operand, scope), e)
            case ast.BoolOp():
                return self.connective(e, scope)
            case ast.Compare(ops=[op], comparators=[right]):
                a, b = self.expression(e.left, scope), self.expression(right, scope)
                return self.compare(type(op), a, b, e)
            case ast.IfExp():
                condition = self.truth(self.expression(e.test, scope), e)
                if isinstance(condition, bool):
                    return self.expression(e.body if condition else e.orelse, scope)
                with self.where(condition):
                    left = self.expression(e.body, scope)
                with self.where(apply("not", condition)):
                    right = self.expression(e.orelse, scope)
                return self.select(condition, left, right, e)
            case ast.Subscript(value=inner, slice=index):
                return self.item(self.expression(inner, scope), self.expression(index, scope), e)
            case ast.Call():
                return self.call(e, scope)
        raise Unsupported(e.lineno, f"the expression `{ast.unparse(e)[:60]}`")

    def name(self, name: str, scope: Scope, node: ast.AST) -> Any:
        """The value of a name."""
        if name in scope:
            if scope[name] is _UNBOUND:
                raise Unsupported(_line(node), f"the name `{name}` may have no value")
            return scope[name]
        if name in self.globals:
            return self.globals[name]
        if name in self.functions or name in _BUILTINS:
            return Library(name)
        raise Unsupported(_line(node), f"the name `{name}` may have no value")

    def attribute(self, holder: Any, name: str, node: ast.AST) -> Any:
        """What follows a dot."""
        match holder:
            case Library(name=prefix):
                found = Library(f"{_SHORT.get(prefix, prefix)}.{name}")
                return _CONSTANTS.get(found.name, found)
            case Value(term=term, weak=False) if name == "dtype":
                return Dtype(term.kind)
            case Value(weak=False) | Tensor() if name in ("shape", "device", "size"):
                return Library(name)
            case Value() | Tensor():
                return (holder, name)
            case Table(part="") if name in ("programs", "rows", "size", "types", "aligned"):
                return Table(name)
        raise Unsupported(_line(node), f"the attribute `{name}`")

    def item(self, holder: Any, key: Any, node: ast.AST) -> Any:
        """An entry of a dictionary, or a kernel with its grid."""
        if isinstance(holder, dict) and isinstance(key, str):
            if key not in holder:
                raise Unsupported(_line(node), f"the entry `{key}` may be missing")
            return holder[key]
        if isinstance(holder, Library) and holder.name in self.functions:
            return (holder, key)
        if holder == Table("types") and isinstance(key, str):
            return Table("types", key)
        raise Unsupported(_line(node), "an index")

    def call(self, e: ast.Call, scope: Scope) -> Any:
        """A call of NumPy, of Python, of a function of the file, or a launch."""
        function = self.expression(e.func, scope)
        args = [self.expression(a, scope) for a in e.args]
        keywords = {str(k.arg): self.expression(k.value, scope) for k in e.keywords}
        match function:
            case (Library(name=name), grid) if name in self.functions:
                self.launches.append(Call(name, grid, tuple(args), keywords, e.lineno))
                return None
            case (Value() as value, "astype") if [type(a) for a in args] == [Dtype]:
                return self.noted(apply("cvt", value.term, kind=args[0].kind), False, e)
            case (Value() as value, "view") if [type(a) for a in args] == [Dtype]:
                return self.reread(value.term, args[0].kind, e)
            case Dtype() if len(args) == 1 and not keywords:
                return _full_like(self, e, None, args[0], function)
            case (Tensor(name="p"), "numel") if not args:
                return SIZE
            case Library(name=name) if name in self.functions and not keywords:
                inner = self.functions[name]
                names = [a.arg for a in inner.args.args]
                if len(names) == len(args) and _is_plain(inner):
                    return self._body(inner, dict(zip(names, args, strict=True)))
            case Library(name=name) if not keywords and (found := _function(name)):
                arity, compute = found
                if len(args) == arity:
                    return compute(self, e, *args)
        raise Unsupported(e.lineno, f"the call `{ast.unparse(e)[:60]}`")

    # Arithmetic.

    def number(self, value: Any, node: ast.AST) -> Value:
        """A number as a term; Python's own are float64."""
        if isinstance(value, Value):
            return value
        if isinstance(value, bool):
            return Value(terms.truth(value), weak=True)
        if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
            return Value(terms.constant(float(value), rule.HOST), weak=True)
        if isinstance(value, float):
            return Value(terms.constant(value, rule.HOST), weak=True)
        if isinstance(value, Integer):
            raise Unsupported(_line(node), "an integer that is not made a float first")
        raise Unsupported(_line(node), "a value that is no number")

    def alike(self, node: ast.AST, *values: Any) -> tuple[list[Term], bool]:
        """Operands in their common type, and whether that is Python's own."""
        found = [self.number(v, node) for v in values]
        weak = all(v.weak for v in found)
        strong = [v.term.kind for v in found if not v.weak and v.term.kind != "bool"]
        if not (weak or strong):
            # NumPy has arithmetic of its own for these: a sum of two is their disjunction.
            raise Unsupported(_line(node), "arithmetic on conditions of elements")
        kind = strong[0] if strong else rule.HOST
        for other in strong:
            if terms.widens(kind, other):
                kind = other
            elif not terms.widens(other, kind):
                raise Unsupported(_line(node), f"{kind} with {other}")
        return [apply("cvt", _arithmetic(v.term), kind=kind) for v in found], weak

    def compute(self, op: str, node: ast.AST, *values: Any) -> Value:
        """An operation on numbers of their common type."""
        operands, weak = self.alike(node, *values)
        made = self.noted(apply(op, *operands), weak, node)
        divides = op == "div" and not (operands[1].is_constant and operands[1].data)
        if weak and (divides or op == "pow"):
            self.may_raise(made.term, node)
        return made

    def may_raise(self, term: Term, node: ast.AST) -> None:
        """Notes a number that Python may have none for; a finite one that is known it has."""
        if not (term.is_constant and math.isfinite(term.number)):
            self.raising.append((term, self.under, _line(node)))

    def binary(self, op: type[ast.operator], a: Any, b: Any, node: ast.AST) -> Any:
        """An infix operation."""
        if isinstance(a, Offset) or isinstance(b, Offset):
            return self.affine(op, a, b, node)
        if type(a) is type(b) is int and op in _WHOLE:
            return _WHOLE[op](a, b)
        if (bits := self.on_bits(op, a, b, node)) is not None:
            return bits
        if op in _BITWISE:
            x, y = self.number(a, node), self.number(b, node)
            if x.term.kind == y.term.kind == "bool":
                weak = x.weak and y.weak
                return self.noted(apply(_BITWISE[op], x.term, y.term), weak, node)
        if op is ast.Pow:
            x, y = self.number(a, node), self.number(b, node)
            if x.weak and y.weak:
                return self.compute("pow", node, x, y)
        elif name := _of_syntax(op):
            return self.compute(name, node, a, b)
        raise Unsupported(_line(node), f"the operator of `{ast.unparse(node)[:60]}`")

    def reread(self, term: Term, kind: str, node: ast.AST) -> Value:
        """The bits of numbers as ones of another type of the same width."""
        for op, kinds in (("asint", OF_FLOAT), ("asfloat", OF_INTEGER)):
            if kinds.get(term.kind) == kind:
                return self.noted(apply(op, term), False, node)
        raise Unsupported(_line(node), f"the bits of {term.kind} as {kind}")

    def bits(self, *values: Any) -> list[Term] | None:
        """Integers that are the bits of floats, at least one of them; None if they are not."""
        kinds = {v.term.kind for v in values if isinstance(v, Value)}
        if len(kinds) != 1 or not kinds <= INTEGERS.keys():
            return None
        kind = kinds.pop()
        found = [integer(v, kind) if type(v) is int else getattr(v, "term", None) for v in values]
        return None if any(term is None for term in found) else [t for t in found if t is not None]

    def on_bits(self, op: type[ast.operator], a: Any, b: Any, node: ast.AST) -> Value | None:
        """An operation on integers that are the bits of floats; None of anything else."""
        operands = self.bits(a, b)
        if operands is None or op not in _ON_BITS:
            return None
        try:
            return self.noted(apply(_ON_BITS[op], *operands), False, node)
        except NoInteger as error:
            raise Unsupported(_line(node), str(error)) from None

    def affine(self, op: type[ast.operator], a: Any, b: Any, node: ast.AST) -> Offset:
        """Arithmetic on the number of elements."""
        x, y = (number(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in (a, b))
        if isinstance(x, Offset) and isinstance(y, Offset):
            if op is ast.Add:
                return x + y
            if op is ast.Sub:
                return x - y
        raise Unsupported(_line(node), f"`{ast.unparse(node)[:60]}`")

    def unary(self, op: type[ast.unaryop], a: Any, node: ast.AST) -> Any:
        """`-x`, `+x`, `not x`, `~x`."""
        if op is ast.Not:
            condition = self.truth(a, node)
            if isinstance(condition, bool):
                return not condition
            return self.noted(apply("not", condition), True, node)
        if op is ast.USub:
            return -a if isinstance(a, int | float) else self.compute("neg", node, a)
        if op is ast.UAdd:
            return a
        value = self.number(a, node)
        if value.term.kind == "bool" and not value.weak:
            return self.noted(apply("not", value.term), False, node)
        raise Unsupported(_line(node), f"`{ast.unparse(node)[:60]}`")

    def connective(self, e: ast.BoolOp, scope: Scope) -> Any:
        """`and`, `or` of conditions; what is known ends it early, as in Python."""
        is_and = isinstance(e.op, ast.And)
        result: bool | Term = is_and
        for part in e.values:
            operand = self.expression(part, scope)
            if not (isinstance(operand, bool) or _is_condition(operand)):
                # What Python gives is the operand, and no condition.
                raise Unsupported(e.lineno, "`and` or `or` of what is no condition")
            value = self.truth(operand, e)
            if isinstance(value, bool):
                if value is not is_and:
                    return value if isinstance(result, bool) else Value(terms.truth(value), True)
            elif isinstance(result, bool):
                result = value
            else:
                result = apply("and" if is_and else "or", result, value)
        return result if isinstance(result, bool) else self.noted(result, True, e)

    def compare(self, op: type[ast.cmpop], a: Any, b: Any, node: ast.AST) -> Any:
        """A comparison."""
        if a == Table("size") and (op, b) == (ast.Gt, 0):
            return True  # without programs there is nothing to prove
        if isinstance(a, Offset) and isinstance(b, int):
            if (a is SIZE) and (op, b) in ((ast.Gt, 0), (ast.NotEq, 0), (ast.GtE, 1)):
                return True  # without elements there is nothing to prove
            raise Unsupported(_line(node), f"the condition `{ast.unparse(node)}`")
        if isinstance(a, Dtype) and isinstance(b, Dtype) and op is ast.Eq:
            return a == b
        if op in (ast.Is, ast.IsNot):
            if a is None or b is None:
                return (a is b) is (op is ast.Is)
        elif name := _of_syntax(op):
            if isinstance(a, int | float) and isinstance(b, int | float):
                return getattr(operator, name)(a, b)
            operands, weak = self.alike(node, a, b)
            return self.noted(apply(name, *operands), weak, node)
        raise Unsupported(_line(node), f"the condition `{ast.unparse(node)[:60]}`")

    def truth(self, value: Any, node: ast.AST) -> bool | Term:
        """A condition, known or a term; Python takes a number for true unless it is zero."""
        if isinstance(value, bool | int | float | str) or value is None:
            return bool(value)
        if isinstance(value, Value) and value.weak:
            term = value.term
            if term.kind != "bool":
                term = apply("ne", term, terms.constant(0.0, term.kind))
            return bool(term.data) if term.is_constant else term
        raise Unsupported(_line(node), "the truth of a value that is no condition")

    def noted(self, term: Term, weak: bool, node: ast.AST) -> Value:
        """A new value; its line is kept if nothing before has computed it."""
        self.origin.setdefault(term, _line(node))
        return Value(term, weak)


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _arithmetic(term: Term) -> Term:
    """A condition as the number 0 or 1."""
    if term.kind != "bool":
        return term
    one, zero = (terms.constant(x, rule.HOST) for x in (1.0, 0.0))
    return apply("select", term, one, zero)


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement of a module binds."""
    match node:
        case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
            return [name]
        case ast.Import(names=names):
            return [alias.asname or alias.name.split(".")[0] for alias in names]
    return []


def _is_condition(value: Any) -> bool:
    return isinstance(value, Value) and value.term.kind == "bool"


def _is_stored(name: ast.Name) -> bool:
    return not isinstance(name.ctx, ast.Load)


def _is_plain(function: ast.FunctionDef) -> bool:
    """Whether a function has parameters by place alone, without defaults, and no decorators."""
    given = function.args
    more = (*given.posonlyargs, *given.kwonlyargs, *given.defaults, given.vararg, given.kwarg)
    return not any(more) and not function.decorator_list


def _copied(scope: Scope) -> Scope:
    return {name: dict(v) if isinstance(v, dict) else v for name, v in scope.items()}


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and not isinstance(a, Offset) and bool(a == b))


_LOOKS = ("items", "shape", "is_floating_point", "is_contiguous")
"""What the checks of generated files call, beside `int`."""
_UNBOUND = object()
"""The value of a name of a function that is not assigned yet, or not on every way."""
_BITWISE: dict[type[ast.operator], str] = {ast.BitAnd: "and", ast.BitOr: "or"}
_ON_BITS: dict[type[ast.operator], str] = {
    ast.Add: "iadd", ast.Sub: "isub", ast.BitAnd: "iand", ast.BitOr: "ior", ast.LShift: "ishl",
    ast.RShift: "ishr",
}  # fmt: skip
_WHOLE: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip
_BUILTINS = (
    "abs", "float", "bool", "int", "dict", "tuple", "ValueError", "TypeError", "RuntimeError",
)  # fmt: skip
_SHORT = {"np": "numpy"}
_CONSTANTS: dict[str, Any] = {
    "numpy.float32": Dtype("f32"), "numpy.float64": Dtype("f64"), "numpy.float16": Dtype("f16"),
    "numpy.int32": Dtype("i32"), "numpy.int64": Dtype("i64"), "numpy.inf": math.inf,
    "numpy.nan": math.nan,
}  # fmt: skip


# The functions that generated files call.


def _float(s: Source, node: ast.AST, x: Any) -> Any:
    if isinstance(x, int | float):
        return float(x)
    if isinstance(x, Integer):
        return Value(x.term, True)
    value = s.number(x, node)
    return s.noted(apply("cvt", _arithmetic(value.term), kind=rule.HOST), True, node)


def _host(op: str) -> Callable[..., Any]:
    """A function of `math`: any number becomes float64."""

    def compute(s: Source, node: ast.AST, *args: Any) -> Value:
        operands = [apply("cvt", s.number(a, node).term, kind=rule.HOST) for a in args]
        made = s.noted(apply(op, *operands), True, node)
        if OPERATIONS[op].fallible:
            s.may_raise(made.term, node)
        return made

    return compute


def _plain(op: str) -> Callable[..., Any]:
    """A function that takes numbers of any type, as operators do."""
    return lambda s, node, *args: s.compute(op, node, *args)


def _array(op: str, term: str) -> Callable[..., Any]:
    """A function of NumPy: its result is an array, or a number that is not weak."""

    def compute(s: Source, node: ast.AST, *args: Any) -> Value:
        operands, _ = s.alike(node, *args)
        made = apply(term, *operands) if term else _of_row(op, operands)
        return s.noted(made, False, node)

    return compute


def _of_row(op: str, operands: Sequence[Term]) -> Term:
    """What the row of an operation says that it is on arrays."""
    return rule.Builder(operands[0].kind, True).operation(op, *operands)


def _of_syntax(operation: type[ast.AST]) -> str:
    """The operation of the table that an arithmetic operator or a comparison is, or ""."""
    for name, row in OPERATIONS.items():
        if row.syntax == operation.__name__ and not row.conditions:
            return name
    return ""


def _where(s: Source, node: ast.AST, condition: Any, a: Any, b: Any) -> Value:
    chosen = s.number(condition, node).term
    if chosen.kind != "bool":
        raise Unsupported(_line(node), "a choice by a number")
    if (bits := s.bits(a, b)) is not None:
        return s.noted(apply("select", chosen, *bits), False, node)
    x, y = s.number(a, node), s.number(b, node)
    if x.term.kind == y.term.kind == "bool":
        return s.noted(apply("select", chosen, x.term, y.term), False, node)
    operands, _ = s.alike(node, x, y)
    return s.noted(apply("select", chosen, *operands), False, node)


def _full_like(s: Source, node: ast.AST, like: Any, x: Any, dtype: Any) -> Value:
    if isinstance(dtype, Dtype) and dtype.kind in INTEGERS and type(x) is int:
        return s.noted(integer(x, dtype.kind), False, node)
    value = s.number(x, node).term
    if not isinstance(dtype, Dtype) or dtype.kind in INTEGERS:
        raise Unsupported(_line(node), "an array of unknown type")
    if value.kind == "bool" and dtype.kind == "bool":
        return s.noted(value, False, node)
    return s.noted(apply("cvt", _arithmetic(value), kind=dtype.kind), False, node)


def _result_type(s: Source, node: ast.AST, a: Any, b: Any) -> Dtype:
    kinds = [x.kind if isinstance(x, Dtype) else s.number(x, node).term.kind for x in (a, b)]
    for kind, other in (kinds, kinds[::-1]):
        if kind in FLOATS and other in FLOATS and terms.widens(kind, other):
            return Dtype(other)
    raise Unsupported(_line(node), "a common type")


def _cdiv(s: Source, node: ast.AST, size: Any, block: Any) -> Programs:
    if isinstance(size, Offset) and isinstance(block, int):
        return Programs(size, block)
    raise Unsupported(_line(node), "a grid that does not follow from the number of elements")


_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "float": (1, _float),
    "numpy.where": (3, _where),
    "numpy.full_like": (3, _full_like),
    "numpy.result_type": (2, _result_type),
    "triton.cdiv": (2, _cdiv),
}


def _function(name: str) -> tuple[int, Callable[..., Any]] | None:
    """Arity of a function and what computes it, by the table of operations or the one above."""
    for op, row in OPERATIONS.items():
        reading = row.python.get(name)
        if reading is None:
            continue
        if reading.form == "any":
            return row.arity, _plain(reading.term)
        if reading.form == "host":
            return row.arity, _host(reading.term)
        return row.arity, _array(op, reading.term)
    return _FUNCTIONS.get(name)
