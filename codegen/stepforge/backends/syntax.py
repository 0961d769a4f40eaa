"""How a language is written and read, as far as files of all backends have it in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stepforge.language.spec import Spec

WIDTH = 100
"""Columns of a line."""


def _nothing(text: str, file: str) -> None:
    """A language without a checker: any text may be a program."""


def _same(spec: Spec) -> Spec:
    return spec


def _as_it_is(spec: Spec, text: str) -> str:
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """A language that a backend prints.

    Attributes:
        comment: What begins a comment that ends with its line.
        pragmas: Comments behind the header, for the tools of a project that a file becomes part of.
        indent: Spaces of one level.
        end: What ends a statement.
        arms: How the arms of a choice begin: `if`, `else if` and `else`, with `{}` for a condition.
        close: The line that ends a choice, or "".
        comma: What follows the last item where each has a line of its own.
        scalars: The column of `operations` for scalars of the host.
        number: A decimal literal, `True` or `False`, as the language has it.
        package: The file that makes a package of a folder, or "".
        docstring: The text that a package begins with.
        hidden: The spec that is lowered in place of one whose names are no names of variables
            here, or names that generated code has itself.
        shown: A file of a hidden spec with names that can stand.
        check: Raises an exception where a text, with the name of its file, is no program.
        meaning: A text in a form that no formatter changes; None where it is no program.
    """

    comment: str
    pragmas: tuple[str, ...] = ()
    indent: str = "    "
    end: str
    arms: tuple[str, str, str]
    close: str
    comma: str
    scalars: str
    number: Callable[[str], str] = str
    package: str = ""
    docstring: Callable[[str], str] = str
    hidden: Callable[[Spec], Spec] = _same
    shown: Callable[[Spec, str], str] = _as_it_is
    check: Callable[[str, str], object] = _nothing
    meaning: Callable[[str], str | None] = str

    def comments(self, *lines: str) -> str:
        """Lines of comments."""
        return "\n".join(f"{self.comment} {line}" for line in lines)

    def under(self, when: str, lines: Iterable[str], depth: int) -> list[str]:
        """Lines at a depth of indentation, inside an `if` when there is a condition."""
        pad = self.indent * depth
        if not when:
            return [pad + line for line in lines]
        body = [pad + self.indent + line for line in lines]
        return [pad + self.arms[0].format(when), *body, *self.closed(pad)]

    def closed(self, pad: str) -> list[str]:
        """What ends a choice."""
        return [pad + self.close] if self.close else []

    def layout(self, prefix: str, items: list[str], suffix: str, pad: str = "") -> str:
        """A call or signature: on one line, with the items on one line, or one item a line."""
        inline, inner = ", ".join(items), pad + self.indent
        if len(f"{pad}{prefix}({inline}){suffix}") <= WIDTH:
            return f"{pad}{prefix}({inline}){suffix}"
        if len(f"{inner}{inline}") <= WIDTH:
            return f"{pad}{prefix}(\n{inner}{inline}\n{pad}){suffix}"
        exploded = f",\n{inner}".join(items)
        return f"{pad}{prefix}(\n{inner}{exploded}{self.comma}\n{pad}){suffix}"
