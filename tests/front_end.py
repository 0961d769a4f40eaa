"""Small specs for the tests of the front end."""

from __future__ import annotations

from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.language.reader import loads
from stepforge.language.spec import Spec

LR = 'lr = { default = 0.1, domain = "lr >= 0", doc = "Learning rate." }'


def text(
    rule: str = "p = p - lr*g", hyperparameters: str = LR, options: str = "", state: str = ""
) -> str:
    """A spec with the given parts; gradient descent by default."""
    return (
        'name = "example"\ntitle = "Example"\nsummary = "An example."\nreference = "None"\n\n'
        f"[hyperparameters]\n{hyperparameters}\n\n[options]\n{options}\n\n[state]\n{state}\n\n"
        f"[rule]\nupdate = '''\n{rule}\n'''\n"
    )


def option(name: str, when: str = "") -> str:
    """An entry of `[options]`."""
    condition = f'when = "{when}", ' if when else ""
    return f'{name} = {{ default = false, {condition}doc = "A switch." }}'


def spec(**parts: str) -> Spec:
    """The model of `text`; warnings are left out."""
    return loads(text(**parts))[0]


def found(source: str) -> list[Diagnostic]:
    """What is wrong with a spec, and the warnings about it."""
    try:
        return loads(source)[1]
    except SpecError as error:
        return list(error.diagnostics)


def codes(**parts: str) -> list[str]:
    """The codes of what is wrong with `text`."""
    return [d.code for d in found(text(**parts))]
