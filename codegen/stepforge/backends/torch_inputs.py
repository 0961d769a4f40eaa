"""The optimizer class of a rule with inputs: its `step`, which takes them, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

from stepforge.backends import python
from stepforge.backends.python import PYTHON, within, wrap
from stepforge.backends.syntax import WIDTH
from stepforge.language.spec import Spec


def methods(spec: Spec) -> str:
    """The methods that only classes of rules with inputs have."""
    return "\n".join(["", *_checks(spec), *_step(spec)]) if spec.inputs else ""


def attribute(spec: Spec) -> dict[str, str]:
    """The rule's names of its inputs → whether each is one number, as text."""
    return {i.name: str(i.scalar) for i in spec.inputs}


def _checks(spec: Spec) -> Iterator[str]:
    """The method that refuses numbers outside of domains; None stands for one on a device."""
    limited = [(i.name, inside) for i in spec.inputs if i.scalar and (inside := within(i))]
    if not limited:
        return
    yield from (
        "",
        "    @staticmethod",
        "    def _check_inputs(values):",
        '        """Refuses inputs outside of their domains; what is None is not known yet."""',
    )
    for name, inside in limited:
        yield f'        {name} = values["{name}"]'
        yield f"        if {name} is not None and not {inside}:"
        message = f'f"{name} is {{{name}}}, not {inside}"'
        yield PYTHON.layout("raise ValueError", [message], "", " " * 12)


def _step(spec: Spec) -> Iterator[str]:
    names = [i.name for i in spec.inputs]
    keywords = [f"{name}=None" for name in names]
    yield ""
    yield PYTHON.layout("def step", ["self", "closure=None", "*", *keywords], ":", "    ")
    yield from (
        '        """One step of every parameter that has a gradient.',
        "",
        "        Args:",
        "            closure: Evaluates the model again and returns the loss.",
    )
    for given in spec.inputs:
        domain = f" Domain: {given.domain_text}." if given.domain_text else ""
        kind = f"A number, in every step.{domain}"
        if not given.scalar:
            kind = (
                f"A tensor like the gradient for every parameter, in their order; by default the "
                f"attribute `{given.name}` of each.{domain}"
            )
        text = f"{given.name}: {python.sentence(given.doc)} {kind}"
        yield "            " + wrap(text, 12, 4)
    yield from (
        "",
        "        Returns:",
        "            The loss, or None without closure.",
        '        """',
    )
    pairs = ", ".join(f'"{name}": {name}' for name in names)
    line = f"        return self._step(closure, {{{pairs}}})"
    if len(line) <= WIDTH:
        yield line
        return
    yield "        return self._step(closure, {"
    yield from (f'            "{name}": {name},' for name in names)
    yield "        })"
