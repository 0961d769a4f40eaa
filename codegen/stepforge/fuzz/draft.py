"""A spec in parts that can be taken away one by one, and its text."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

Table = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Draft:
    """A spec before it is text.

    Attributes:
        name: Name of the optimizer.
        hyperparameters: Name → the keys of its entry, without `doc`.
        options: The same.
        states: The same.
        rule: The statements of `update`.
        inputs: The same as the states.
    """

    name: str
    hyperparameters: Table
    options: Table
    states: Table
    rule: str
    inputs: Table = field(default_factory=dict)

    def text(self) -> str:
        """The TOML file."""
        lines = [f'name = "{self.name}"']
        lines += ['title = "Random"', 'summary = "A random rule."', 'reference = "None"']
        sections = {
            "hyperparameters": self.hyperparameters, "options": self.options, "state": self.states,
            "inputs": self.inputs,
        }  # fmt: skip
        for section, entries in sections.items():
            if entries:
                lines += ["", f"[{section}]", *(_entry(*item) for item in entries.items())]
        return "\n".join([*lines, "", "[rule]", f"update = '''\n{self.rule}\n'''\n"])

    def reads(self) -> set[str]:
        """Every name that an expression of the rule holds, or a state's `when` or `init`."""
        texts = [
            str(entry[key])
            for entry in self.states.values()
            for key in ("when", "init")
            if key in entry
        ]
        nodes = [ast.parse(self.rule), *(ast.parse(text, mode="eval") for text in texts)]
        return {
            node.id
            for tree in nodes
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }


def _entry(name: str, keys: Mapping[str, object]) -> str:
    values = {**keys, "doc": "Random."}
    return f"{name} = {{ {', '.join(f'{k} = {_value(v)}' for k, v in values.items())} }}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
