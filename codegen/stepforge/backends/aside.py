"""Generated code steps aside: where its names are those of an author, they get an underscore.

Only specs whose names meet those of generated code come here. Such names are written in letters
that nobody uses while the file is rendered; what has the name afterwards is generated code's own
and gets another one, before the author's names come back.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from stepforge.language.constraints import Constraint
from stepforge.language.expression import Apply, Assign, Expression, Name, Number, Statement
from stepforge.language.names import GENERATED, author_names, kernel_name, owned, stepped_aside
from stepforge.language.spec import Spec
from stepforge.language.torch_model import Torch

_ASCII = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HIDDEN = "".join(map(chr, (*range(0x10428, 0x10442), *range(0x10400, 0x1041A))))
"""Deseret letters, small and capital ones, so that capitals are made of them as of ours."""
_HIDE = str.maketrans(_ASCII, _HIDDEN)
_SHOW = str.maketrans(_HIDDEN, _ASCII)
PUBLIC = ("init", "step", "step_on_device")
"""Functions whose names are part of what a file offers: nothing in a file calls them."""
_CONSTANTS = ("BLOCK", "COLUMNS")
"""Constants that are part of it, too, under these names."""


def conflicts(spec: Spec) -> frozenset[str]:
    """The names of an author that generated code would use for something else."""
    own = {*GENERATED, kernel_name(spec.name)}
    found = author_names(spec) & own
    return frozenset(found | {o.name for o in spec.options if o.name.upper() in own})


def shown(text: str) -> str:
    """A text with the author's names."""
    return text if text.isascii() else text.translate(_SHOW)


def hidden(spec: Spec) -> Spec:
    """The spec with other letters in the names that meet those of generated code."""
    return renamed(spec, {name: name.translate(_HIDE) for name in conflicts(spec)})


def renamed(spec: Spec, names: Mapping[str, str]) -> Spec:
    """The spec with other names in place of some of the author's; the spec itself for none."""
    if not names:
        return spec

    def of(name: str) -> str:
        return names.get(name, name)

    def expression(e: Expression | None) -> Expression | None:
        return None if e is None else _renamed(e, of)

    def condition(text: str) -> str:
        return re.sub(r"\w+", lambda word: of(word[0]), text)

    return replace(
        spec,
        hyperparameters=tuple(replace(h, name=of(h.name)) for h in spec.hyperparameters),
        options=tuple(
            replace(o, name=of(o.name), when=expression(o.when), when_text=condition(o.when_text))
            for o in spec.options
        ),
        states=tuple(
            replace(
                s, name=of(s.name), init=_renamed(s.init, of), when=expression(s.when),
                when_text=condition(s.when_text),
            )
            for s in spec.states
        ),
        inputs=tuple(replace(i, name=of(i.name)) for i in spec.inputs),
        rule=tuple(_statement(s, of) for s in spec.rule),
        together=tuple(
            Constraint(_renamed(c.condition, of), condition(c.text)) for c in spec.together
        ),
        roles={role: of(name) for role, name in spec.roles.items()},
        torch=spec.torch and _torch(spec.torch, of),
    )  # fmt: skip


Rename = Callable[[str], str]


def renamed_in(e: Expression, names: Mapping[str, str]) -> Expression:
    """An expression with other names in place of some."""
    return _renamed(e, lambda name: names.get(name, name))


def _renamed(e: Expression, of: Rename) -> Expression:
    match e:
        case Name(id=name):
            return replace(e, id=of(name))
        case Apply(args=args):
            return replace(e, args=tuple(_renamed(a, of) for a in args))
        case Number():
            return e


def _statement(s: Statement, of: Rename) -> Statement:
    if isinstance(s, Assign):
        return replace(s, name=of(s.name), value=_renamed(s.value, of))
    body, orelse = (tuple(_statement(inner, of) for inner in block) for block in (s.body, s.orelse))
    return replace(s, condition=_renamed(s.condition, of), body=body, orelse=orelse)


_V = TypeVar("_V")


def _keys(table: Mapping[str, _V], of: Rename) -> dict[str, _V]:
    return {of(key): value for key, value in table.items()}


def _torch(torch: Torch, of: Rename) -> Torch:
    """Torch's own names stay."""
    unmapped = set(torch.signature) - set(torch.arguments)
    return replace(
        torch,
        arguments={k: tuple(map(of, parts)) for k, parts in torch.arguments.items()},
        state=_keys(torch.state, of),
        switches={of(k): of(v) for k, v in torch.switches.items()},
        zero_with={of(k): of(v) for k, v in torch.zero_with.items()},
        refusals=_keys(torch.refusals, of),
        later=tuple(map(of, torch.later)),
        signature=tuple(of(name) if name in unmapped else name for name in torch.signature),
    )


def rendered(spec: Spec, text: str) -> str:
    """A file that was rendered with hidden names, with the author's and other ones of its own."""
    taken = owned(spec)
    other = {n: stepped_aside(n, taken) for n in {*GENERATED, kernel_name(spec.name)} if n in taken}
    other |= {f"{n}_ptr": f"{other[n]}_ptr" for n in ("programs", "rows") if n in other}
    if not other:
        return shown(text)
    if "super" in other:  # it works under its own name only
        text = text.replace("super().__init__(", "Optimizer.__init__(self, ")
    used: set[str] = set()
    text = _Renaming(other, used).file(text)
    aliases = [f"{other[n]} = {n}\n" for n in sorted(used) if hasattr(builtins, n)]
    if "tl" in used:  # Triton's interpreter knows annotations as `tl.float64` or `float64` alone
        header = re.compile(rf"(?m)^(    \w+: |.*, \w+: ){other['tl']}\.(\w+)")
        types = sorted({found[2] for found in header.finditer(text)})
        text = header.sub(r"\1\2", text)
        aliases += [f"{name} = {other['tl']}.{name}\n" for name in types]
    if aliases:
        # Behind the imports, or the docstring of a file without any.
        last = list(re.finditer(r'(?m)^(?:(?:import|from) .*|""")\n', text))[-1].end()
        text = f"{text[:last]}\n{''.join(aliases)}{text[last:]}"
    return shown(text)


_TOKEN = re.compile(
    r"""
      (?P<import>^(?:import|from)[ ][^\n]*$)
    | (?P<constant>^(?:BLOCK|COLUMNS)[ ]=[ ][^\n]*(?:\n[ )][^\n]*)*$)
    | (?P<jit>do_not_specialize=\["\w+"\])
    | (?P<text>[fFrR]*(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|"(?:[^"\\\n]|\\.)*"))
    | (?P<comment>\#[^\n]*)
    | (?P<header>^[ ]*def[ ]\w+\((?:[^:]|:[ ]tl\.\w+)*?\)(?:[ ]->[ ][^\n]*)?:$)
    | (?P<keyword>(?<![\w.])[^\W\d]\w*=(?!=))
    | (?P<name>(?<![\w.])[^\W\d]\w*)
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


class _Renaming:
    """Renames what generated code calls its own, by what kind of place it stands in."""

    def __init__(self, other: Mapping[str, str], used: set[str]) -> None:
        self.other = other
        self.used = used

    def file(self, text: str) -> str:
        return _TOKEN.sub(self._token, text)

    def name(self, name: str) -> str:
        if name in self.other:
            self.used.add(name)
        return self.other.get(name, name)

    def names(self, text: str) -> str:
        return re.sub(r"(?<![\w.])[^\W\d]\w*", lambda word: self.name(word[0]), text)

    def _token(self, match: re.Match[str]) -> str:
        kind, text = match.lastgroup, match[0]
        if kind == "import":
            return self._import(text)
        if kind == "constant":  # stays, because others know it, and is not used by this name
            name = text.split(" ")[0]
            return text + (f"\n{self.other[name]} = {name}" if name in self.other else "")
        if kind == "jit":
            return re.sub(r'"(\w+)"', lambda word: f'"{self.name(word[1])}"', text)
        if kind == "text":
            return self._text(text)
        if kind == "comment":
            return text
        if kind == "header":
            before, bracket, rest = text.partition("(")
            keyword, _, function = before.rpartition(" ")
            function = function if function in PUBLIC else self.name(function)
            return f"{keyword} {function}{bracket}{self.names(rest)}"
        if kind == "keyword":  # of Triton or torch, but for what is compiled in
            name = text.removesuffix("=")
            return (self.name(name) if name.isupper() else name) + "="
        return self.name(text)

    def _import(self, line: str) -> str:
        """`import x as x_`."""
        known, word, name = line.rpartition(" as ")
        if word:
            return f"{known} as {self.name(name)}"
        keyword, _, names = line.rpartition("import ")
        found = []
        for name in names.split(", "):
            other = self.name(name)
            found.append(name if other == name else f"{name} as {other}")
        return f"{keyword}import {', '.join(found)}"

    def _text(self, text: str) -> str:
        if text.startswith('"""'):  # the arguments that a docstring describes

            def described(match: re.Match[str]) -> str:
                return f"{match[1]}{self.other.get(match[2], match[2])}: "

            return re.sub(r"(?m)^( {8})(\w+): ", described, text)
        if text.startswith("f"):
            return re.sub(r"\{[^{}]*\}", lambda inside: self.names(inside[0]), text)
        return text
