"""Which values hyperparameters may have, each for itself and several together, from the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stepforge.language.constraints import Constraint, constant
from stepforge.language.diagnostics import nearest, short
from stepforge.language.expression import Apply, Expression, Name, names
from stepforge.language.parser import parse_expression
from stepforge.language.source import KeyPath
from stepforge.language.spec import Hyperparameter, Interval
from stepforge.language.values import Values, kind_of


def together(
    values: Values, data: dict[str, Any], hyperparameters: Sequence[Hyperparameter]
) -> Iterator[Constraint]:
    """What hyperparameters have to be together: `[domains] together`.

    Args:
        values: Collects what is wrong.
        data: Of the file.
        hyperparameters: All that there are.
    """
    path: KeyPath = ("domains", "together")
    table = values.table(values.typed(data, (), "domains", dict, {}), path[:1], path[1:], ())
    defaults = {h.name: h.default for h in hyperparameters}
    for index, text in enumerate(values.typed(table, path[:1], "together", list, [])):
        where = (*path, str(index))
        if not isinstance(text, str):
            message = f"`together` is made of strings, not {kind_of(text)}"
            span = values.source.value_span(where)
            values.error("E012", message, span, 'write for example `["low <= high"]`')
            continue
        parsed = parse_expression(values.source, where, text, values.out)
        if parsed is None:
            continue
        found = {name.id: name for name in names(parsed)}
        if unknown := next((n for n in found.values() if n.id not in defaults), None):
            message = f"`{short(unknown.id)}` is not a hyperparameter"
            help = nearest(unknown.id, defaults) or "`together` compares hyperparameters"
            values.error("E146", message, unknown.span, help)
        elif not _is_constraint(parsed):
            message = "this is no comparison of hyperparameters"
            help = "write for example `low <= high` or `0 < a + b < 1`, with `+ - *`"
            values.error("E146", message, parsed.span, help)
        elif len(found) < 2:
            name = next(iter(found), "")
            message = f"this speaks about `{name}` alone" if name else "this names nothing"
            help = f"write it as the domain of `{name}`" if name else "compare two names"
            values.error("E147", message, parsed.span, help)
        else:
            constraint = Constraint(parsed, " ".join(text.split()))
            if not constraint.holds(defaults):
                shown = ", ".join(f"{name} = {defaults[name]:g}" for name in found)
                message = f"the defaults do not satisfy this: {shown}"
                values.error("E148", message, parsed.span)
            yield constraint


def _is_constraint(e: Expression, inside: bool = False) -> bool:
    """Whether it is made of comparisons, `and`, and sums and products inside of them."""
    if not isinstance(e, Apply):
        return inside
    if e.op == "and" and not inside:
        return all(_is_constraint(part) for part in e.args)
    allowed = ("add", "sub", "mul", "neg") if inside else ("lt", "le", "gt", "ge")
    return e.op in allowed and all(_is_constraint(part, True) for part in e.args)


def interval(condition: Expression, name: str) -> Interval:
    """The interval of comparisons of `name` with numbers; ValueError when it is none."""
    if not isinstance(condition, Apply):
        raise ValueError
    if condition.op == "and":
        left, right = (interval(part, name) for part in condition.args)
        low = max((left.low, left.low_open), (right.low, right.low_open))
        high = min((left.high, not left.high_open), (right.high, not right.high_open))
        return Interval(low[0], high[0], low[1], not high[1])
    if condition.op not in ("lt", "le", "gt", "ge"):
        raise ValueError
    first, second = condition.args
    below = condition.op in ("lt", "le")
    if isinstance(second, Name):
        first, second, below = second, first, not below
    if not isinstance(first, Name):
        raise ValueError
    bound, is_open = constant(second, {}), condition.op in ("lt", "gt")
    return Interval(high=bound, high_open=is_open) if below else Interval(bound, low_open=is_open)
