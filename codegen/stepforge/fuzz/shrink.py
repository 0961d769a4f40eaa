"""From a failing spec or text to a small one that fails in the same way."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from stepforge.fuzz.draft import Draft, Table

T = TypeVar("T")
BATCH = 24
"""Candidates that are tried at a time."""
ROUNDS = 60
TRIES = 2000


def smallest(
    draft: Draft,
    failing: Callable[[Sequence[Draft]], Sequence[bool]],
    enough: Callable[[], bool] = lambda: False,
) -> Draft:
    """Takes parts of a spec away for as long as it fails.

    Args:
        draft: A spec that fails.
        failing: Says of each candidate whether it fails in the same way.
        enough: Whether no more candidates shall be tried.
    """
    for _ in range(ROUNDS):
        smaller = _first(_unique(draft), failing, enough)
        if smaller is None:
            return draft
        draft = smaller
    return draft


def _unique(draft: Draft) -> Iterator[Draft]:
    """The candidates that are smaller, each once, those that take away most first."""
    size = len(draft.text())
    made = {c.text(): c for c in candidates(draft) if len(c.text()) < size}
    yield from sorted(made.values(), key=lambda c: (len(c.text()), c.text()))


def _first(
    tries: Iterator[Draft],
    failing: Callable[[Sequence[Draft]], Sequence[bool]],
    enough: Callable[[], bool],
) -> Draft | None:
    while not enough() and (batch := list(itertools.islice(tries, BATCH))):
        for candidate, fails in zip(batch, failing(batch), strict=True):
            if fails:
                return candidate
    return None


def candidates(draft: Draft) -> Iterator[Draft]:
    """Every spec with one part less; most of them obey the rules of the language."""
    for tree in (*_without_statements(draft), *_simpler_expressions(draft)):
        yield _declared(replace(draft, rule=ast.unparse(tree)))
    for name in draft.options:
        for value in (False, True):
            rule = ast.unparse(_Pruned().visit(_Fixed(name, value).visit(ast.parse(draft.rule))))
            yield _declared(replace(draft, rule=rule, options=_but(draft.options, name)))
    for name in _assigned(draft.rule) - {"p", "g"}:
        rule = ast.unparse(_Renamed(name, "g").visit(_unassigned(draft.rule, name)))
        yield _declared(replace(draft, rule=rule, states=_but(draft.states, name)))
    for name, entry in draft.inputs.items():
        for other in ("t", *draft.hyperparameters) if entry.get("scalar") else ("g",):
            rule = ast.unparse(_Renamed(name, other).visit(_unassigned(draft.rule, name)))
            yield _declared(replace(draft, rule=rule, inputs=_but(draft.inputs, name)))
    for entries in _plainer(draft.hyperparameters):
        yield replace(draft, hyperparameters=entries)
    for entries in _plainer(draft.options):
        yield replace(draft, options=entries)
    for entries in _plainer(draft.states):
        yield replace(draft, states=entries)
    for entries in _plainer(draft.inputs):
        yield replace(draft, inputs=entries)


def _without_statements(draft: Draft) -> Iterator[ast.Module]:
    """The rule without one statement, or with a block in place of its `if`."""
    tree = ast.parse(draft.rule)
    for index, node in enumerate(n for n in ast.walk(tree) if isinstance(n, ast.stmt)):
        yield _replaced(tree, index, [])
        if isinstance(node, ast.If):
            yield _replaced(tree, index, node.body)
            yield _replaced(tree, index, node.orelse)


def _replaced(tree: ast.Module, index: int, by: Sequence[ast.stmt]) -> ast.Module:
    """A copy of the rule with statement `index`, in the order of `ast.walk`, replaced."""
    made = copy.deepcopy(tree)
    target = [n for n in ast.walk(made) if isinstance(n, ast.stmt)][index]
    for parent in ast.walk(made):
        for block in (getattr(parent, "body", None), getattr(parent, "orelse", None)):
            if isinstance(block, list) and target in block:
                at = block.index(target)
                block[at : at + 1] = copy.deepcopy(list(by))
    _Pruned().visit(made)
    return ast.fix_missing_locations(made)


class _Pruned(ast.NodeTransformer):
    """Removes blocks in which nothing is left, and turns those where only `else` is."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        if not node.body:
            node.test = ast.UnaryOp(ast.Not(), node.test)
            node.body, node.orelse = node.orelse, []
        return node if node.body else None


def _simpler_expressions(draft: Draft) -> Iterator[ast.Module]:
    """The rule with one expression replaced by a part of it, or by a leaf."""
    tree = ast.parse(draft.rule)
    for index, node in enumerate(_values(tree)):
        if isinstance(node, ast.Constant):
            continue
        parts = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
        if isinstance(node, ast.Call):
            parts = node.args
        leaves = (ast.Name("g", ast.Load()), ast.Name("p", ast.Load()), ast.Constant(2))
        for part in (*parts, *leaves):
            yield _swapped(tree, index, part)


def _assigned(rule: str) -> set[str]:
    nodes = ast.walk(ast.parse(rule))
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _values(tree: ast.Module) -> list[ast.expr]:
    """Every expression that is read, without the names of functions."""
    nodes = list(ast.walk(tree))
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return [
        node
        for node in nodes
        if isinstance(node, ast.expr)
        and id(node) not in functions
        and not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    ]


def _swapped(tree: ast.Module, index: int, by: ast.expr) -> ast.Module:
    made = copy.deepcopy(tree)
    _Swap(_values(made)[index], copy.deepcopy(by)).visit(made)
    return ast.fix_missing_locations(made)


class _Swap(ast.NodeTransformer):
    """Puts a node in place of another one."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


class _Renamed(ast.NodeTransformer):
    """Reads one name in place of another."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.new, node.ctx) if node.id == self.old else node


class _Fixed(ast.NodeTransformer):
    """Decides an option: choices and blocks that depend on it alone are made."""

    def __init__(self, name: str, value: bool) -> None:
        self.name, self.value = name, value

    def known(self, test: ast.expr) -> bool | None:
        """The value of a condition, or None if it has other names."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.known(test.operand)
            return None if inner is None else not inner
        return self.value if isinstance(test, ast.Name) and test.id == self.name else None

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        known = self.known(node.test)
        if known is None:
            return node
        return node.body if known else node.orelse

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        known = self.known(node.test)
        if known is None:
            return node
        return node.body if known else node.orelse


def _unassigned(rule: str, name: str) -> ast.Module:
    """The rule without the assignments of a name."""
    tree = ast.parse(rule)

    class Drop(ast.NodeTransformer):
        def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
            target = node.targets[0]
            return None if isinstance(target, ast.Name) and target.id == name else node

    Drop().visit(tree)
    _Pruned().visit(tree)
    return ast.fix_missing_locations(tree)


def _but(table: Table, name: str) -> Table:
    return {key: entry for key, entry in table.items() if key != name}


def _declared(draft: Draft) -> Draft:
    """The draft without hyperparameters and options that nothing reads."""
    read = draft.reads()
    return replace(
        draft,
        hyperparameters={k: v for k, v in draft.hyperparameters.items() if k in read},
        options={k: v for k, v in draft.options.items() if k in read},
        inputs={k: v for k, v in draft.inputs.items() if k in read},
    )


def _plainer(entries: Table) -> Iterator[Table]:
    """The declarations with one key less in one of them."""
    for name, entry in entries.items():
        for key in ("domain", "when", "scalar"):
            if key in entry:
                plain = {k: v for k, v in entry.items() if k != key}
                yield {**entries, name: plain}
        if isinstance(entry.get("init"), str):
            yield {**entries, name: {**entry, "init": 0}}


def shortest(data: bytes, fails: Callable[[bytes], bool], tries: int = TRIES) -> bytes:
    """Delta debugging of a text: removes ever smaller pieces for as long as it fails."""
    size = max(1, len(data) // 2)
    while size:
        start, removed = 0, False
        while start < len(data) and tries:
            candidate = data[:start] + data[start + size :]
            tries -= 1
            if candidate != data and fails(candidate):
                data, removed = candidate, True
            else:
                start += size
        size = min(size, len(data)) if removed and size == 1 and tries else size // 2
    return data
