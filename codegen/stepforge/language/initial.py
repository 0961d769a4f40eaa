"""Where states start: a number, an expression of hyperparameters, or a copy of the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from stepforge.language.constraints import constant
from stepforge.language.diagnostics import Span, nearest, short
from stepforge.language.expression import Apply, Expression, Number, names
from stepforge.language.parser import parse_expression
from stepforge.language.source import KeyPath
from stepforge.language.spec import Interval, is_parameter
from stepforge.language.values import Values, finite, kind_of


class InitialValues(Values):
    """Reads initial values, and reports what they cannot be."""

    def init(self, entry: dict[str, Any], path: KeyPath, defaults: dict[str, float]) -> Expression:
        """The value of a state before the first step; zero if there is an error."""
        value, where = entry.get("init", 0), (*path, "init")
        span = self.source.value_span(where) or Span(1, 1, 2)
        zero = Number("0", Fraction(0), span)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            message = (
                f"the initial value of `{short(path[-1])}` must be a number, not {kind_of(value)}"
            )
            self.error("E145", message, span)
            return zero
        if not isinstance(value, str):
            if not finite(value):
                self.error("E145", f"the initial value of `{short(path[-1])}` must be finite", span)
                return zero
            number = Number(repr(abs(value)), Fraction(repr(abs(value))), span)
            return Apply("neg", (number,), span) if value < 0 else number
        parsed = parse_expression(self.source, where, value, self.out)
        if parsed is None:
            return zero
        if is_parameter(parsed):
            return parsed
        for name in names(parsed):
            if name.id not in defaults:
                message = f"`{name.id}` is not a hyperparameter"
                help = nearest(name.id, defaults)
                help = help or "initial values are made of numbers and hyperparameters"
                if name.id == "p":
                    help = 'a state that starts as a copy of the parameter has `init = "p"`'
                self.error("E145", message, name.span, help)
                return zero
        try:
            constant(parsed, defaults)
        except KeyError:
            message = "an initial value is an expression of numbers and hyperparameters"
            self.error("E145", message, parsed.span, "use `+ - * /`")
        except ArithmeticError:
            message = f"the initial value of `{short(path[-1])}` is not finite at the defaults"
            self.error("E145", message, parsed.span)
        return parsed

    def starts_inside(
        self, path: KeyPath, init: Expression, domain: Interval, domain_text: str, scalar: bool,
        defaults: Mapping[str, float],
    ) -> None:  # fmt: skip
        """Whether a state is inside of its domain before the first step.

        A copy of the parameter is a tensor, and may be any number.
        """
        name = path[-1]
        if is_parameter(init):
            if scalar:
                message = f"`{name}` is one number, and cannot be a copy of the parameter"
                self.error("E145", message, init.span, "leave out `scalar = true`")
            elif not domain.covers(Interval()):
                message = f"`p` may be outside of `{name}`'s domain `{domain_text}`"
                self.error("E144", message, init.span, "leave out the domain")
            return
        try:
            inside = domain.empty or constant(init, defaults) in domain
        except (ArithmeticError, KeyError):
            inside = True  # reported by `init`
        if not inside:
            span = self.source.value_span((*path, "init"))
            message = f"the initial value of `{name}` is outside its domain `{domain_text}`"
            self.error("E144", message, span)
