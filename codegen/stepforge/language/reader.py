"""Values with positions to the frozen model.

`from_source` either returns a spec that obeys every rule of the language or raises all of its
diagnostics at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from stepforge.language import domains, rules
from stepforge.language.constants import with_constants
from stepforge.language.diagnostics import Diagnostic, Span, SpecError, nearest, order, short
from stepforge.language.expression import Expression, Statement, names
from stepforge.language.initial import InitialValues
from stepforge.language.names import GENERATED, malformed, name_problem
from stepforge.language.parser import parse_expression, parse_rule
from stepforge.language.source import KeyPath, Source, parse
from stepforge.language.spec import (
    FAMILIES,
    NO_FAMILY,
    Hyperparameter,
    Input,
    Interval,
    Option,
    Spec,
    State,
    holds,
    is_option_condition,
    option_sets,
)
from stepforge.language.subjects import OPTIMIZER, Subject, subject_of
from stepforge.language.torch_table import SchedulerTable, TorchTable
from stepforge.language.values import MAX_DIAGNOSTICS, TooMany, finite, kind_of

MAX_OPTIONS = 8
MAX_HYPERPARAMETERS = 64
MAX_STATES = 32
MAX_INPUTS = 8


def loads(text: str, shown: str = "<spec>") -> tuple[Spec, list[Diagnostic]]:
    """Reads and checks the text of a spec that is made of no others.

    Args:
        text: The text.
        shown: The name that diagnostics use for it.

    Returns:
        The spec and the warnings about it.

    Raises:
        SpecError: With every error of the text.
    """
    return from_source(parse(text, shown), stem=None)


def from_source(
    source: Source, stem: str | None, further: tuple[str, ...] = ()
) -> tuple[Spec, list[Diagnostic]]:
    """Builds the model and applies the semantic rules; see `loads`.

    Hyperparameters may have `further` keys, which somebody else reads.
    """
    reader = _Reader(source, [])
    reader.further = further
    try:
        spec = reader.spec(stem)
    except TooMany:
        raise SpecError(order(reader.out)) from None
    found = reader.out
    spec = with_constants(spec)
    if not any(d.severity == "error" for d in found):
        found = [*found, *rules.check(spec)]
    found = order(found)[:MAX_DIAGNOSTICS]
    if any(d.severity == "error" for d in found):
        raise SpecError(found)
    return _without(spec, rules.unused(spec)), found


def _without(spec: Spec, names: set[str]) -> Spec:
    """A spec without some of its states and inputs."""
    if not names:
        return spec
    torch = spec.torch
    if torch is not None:
        torch = replace(torch, state={k: v for k, v in torch.state.items() if k not in names})
    states = tuple(s for s in spec.states if s.name not in names)
    inputs = tuple(i for i in spec.inputs if i.name not in names)
    return replace(spec, states=states, inputs=inputs, torch=torch)


class _Reader(InitialValues):
    """One pass over the values; collects every diagnostic."""

    subject: Subject = OPTIMIZER
    further: tuple[str, ...] = ()

    def new_name(self, name: str, section: str, seen: dict[str, str]) -> None:
        """Checks a declared name and that it is declared once."""
        span = self.source.key_span((section, name))
        if problem := name_problem(name):
            code, reason, help = problem
            self.error(code, f"`{short(name)}` {reason}", span, help)
        elif name == self.subject.result:
            message = f"`{name}` is reserved: it is what the rule of a {self.subject.name} computes"
            self.error("E014", message, span, f"write `{name}_`")
        elif name in seen:
            message = f"`{name}` is declared twice, first as {seen[name]}"
            self.error("E016", message, span, "rename one of them")
        seen.setdefault(name, _SECTIONS[section])

    def upper_case(self, seen: dict[str, str]) -> None:
        """E018: kernels have options in upper case, where they must not meet another name."""
        spelled: dict[str, str] = {}
        for name in (n for n, what in seen.items() if what == "an option" and not malformed(n)):
            upper = name.upper()
            other = upper if upper in seen else spelled.get(upper)
            if other is not None and name != upper:
                span = self.source.key_span(("options", name))
                what = seen[other].split(" ")[1]
                message = f"option `{name}` is `{upper}` in kernels, as is the {what} `{other}`"
                self.error("E018", message, span, "rename one of them")
            spelled.setdefault(upper, name)

    def condition(
        self, data: dict[str, Any], path: KeyPath, options: Sequence[Option]
    ) -> tuple[Expression | None, str]:
        """A `when` value: a condition on the options declared so far."""
        text = self.typed(data, path, "when", str, "")
        if not isinstance(data.get("when"), str):
            return None, ""
        where = (*path, "when")
        parsed = parse_expression(self.source, where, text, self.out)
        if parsed is None:
            return None, ""
        above = [option.name for option in options]
        for name in names(parsed):
            if name.id not in above:
                help = nearest(name.id, above)
                message = f"`{name.id}` is not an option declared above"
                self.error("E151", message, name.span, help)
                return None, ""
        if not is_option_condition(parsed):
            message = "`when` must be a condition on options"
            self.error("E151", message, parsed.span, "use option names, `and`, `or`, `not`")
            return None, ""
        if not any(holds(parsed, chosen) for chosen in option_sets(options)):
            self.error("E151", "`when` is never true", parsed.span)
        return parsed, " ".join(text.split())

    def interval(
        self, data: dict[str, Any], path: KeyPath, key: str = "domain"
    ) -> tuple[Interval, str]:
        """A `domain` or `usual` value: comparisons of the name with numbers."""
        text = self.typed(data, path, key, str, "")
        if not isinstance(data.get(key), str):
            return Interval(), ""
        where, name = (*path, key), path[-1]
        what = "domain" if key == "domain" else "usual range"
        parsed = parse_expression(self.source, where, text, self.out)
        if parsed is None:
            return Interval(), ""
        other = [n for n in names(parsed) if n.id != name]
        if other:
            message = f"the {what} of `{short(name)}` speaks about `{other[0].id}`"
            self.error("E143", message, other[0].span, f"write it about `{short(name)}`")
            return Interval(), ""
        try:
            interval = domains.interval(parsed, name)
        except (ValueError, KeyError, ArithmeticError):
            message = f"cannot read the {what} of `{short(name)}`"
            help = f"write for example `0 <= {short(name)} < 1` or `{short(name)} > 0`"
            self.error("E140", message, self.source.value_span(where), help)
            return Interval(), ""
        if interval.empty:
            message = f"the {what} of `{short(name)}` is empty"
            self.error("E142", message, self.source.value_span(where))
        return interval, " ".join(text.split())

    # The sections, in the order of the file.

    def spec(self, stem: str | None) -> Spec:
        self.subject = subject = subject_of(self.source.data)
        required = ("name", "title", "summary", "reference", "rule")
        data = self.table(self.own_tables(), (), subject.tables, required)
        name = self.name(data, stem)
        seen: dict[str, str] = {}
        hyperparameters = tuple(self.hyperparameters(data, seen))
        together = tuple(domains.together(self, data, hyperparameters))
        options = tuple(self.options(data, seen))
        states = tuple(self.states(data, seen, hyperparameters, options))
        inputs = tuple(self.inputs(data, seen))
        self.upper_case(seen)
        sections = (hyperparameters, options, states, inputs)
        known = ([declared.name for declared in section] for section in sections)
        table = TorchTable if subject == OPTIMIZER else SchedulerTable
        roles, torch = table(self.source, self.out, *known).read(data)
        return Spec(
            name=name,
            title=self.text(data, (), "title"),
            summary=self.text(data, (), "summary"),
            reference=self.text(data, (), "reference"),
            family=self.family(data),
            hyperparameters=hyperparameters,
            options=options,
            states=states,
            rule=self.rule(data),
            roles=roles,
            torch=torch,
            together=together,
            inputs=inputs,
            subject=subject,
            source=self.source,
        )

    def own_tables(self) -> dict[str, Any]:
        """The values of the file, without the tables that other kinds of specs have."""
        data, subject = self.source.data, self.subject
        others = [key for key in data if key in {*OPTIMIZER.tables} - {*subject.tables}]
        for key in others:
            message = f"a {subject.name} has no `{key}`"
            help = f"the keys of a {subject.name} are {', '.join(subject.tables)}"
            self.error("E010", message, self.source.key_span((key,)), help)
        return {key: value for key, value in data.items() if key not in others}

    def name(self, data: dict[str, Any], stem: str | None) -> str:
        name = self.typed(data, (), "name", str, "")
        if not isinstance(data.get("name"), str):
            return name
        span = self.source.value_span(("name",))
        if problem := name_problem(name, GENERATED):
            code, reason, help = problem
            if not help or "/" in name:
                help = "the name becomes a file name and a Python module"
            self.error(code, f"`{short(name)}` {reason}", span, help)
        elif stem is not None and name != stem:
            message = f"the spec is named `{name}` but its file `{short(stem)}.toml`"
            self.error("E015", message, span, f"rename the file to `{name}.toml`")
        return name

    def family(self, data: dict[str, Any]) -> str:
        family = self.typed(data, (), "family", str, NO_FAMILY)
        if family not in (*FAMILIES, NO_FAMILY):
            span = self.source.value_span(("family",))
            help = nearest(family, FAMILIES) or f"the families are {', '.join(FAMILIES)}"
            self.error("E153", f"no family is called `{short(family)}`", span, help)
        return family

    def entries(
        self, data: dict[str, Any], section: str, limit: int, seen: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The declarations of a section, with their names checked."""
        table = self.typed(data, (), section, dict, {})
        if len(table) > limit:
            message = f"`{section}` declares {len(table)} names, the limit is {limit}"
            self.error("E152", message, self.source.key_span((section,)))
            return
        for name, entry in table.items():
            self.new_name(name, section, seen)
            if isinstance(entry, dict):
                yield name, entry
            else:
                key, example = _EXAMPLES[section]
                example = str(entry) if isinstance(entry, int | float) else example
                example = example.lower() if isinstance(entry, bool) else example
                first = f"{key} = {example}, " if key else ""
                help = f'write `{short(name)} = {{ {first}doc = "…" }}`'
                span = self.source.value_span((section, name))
                message = f"`{short(name)}` must be a table, not {kind_of(entry)}"
                self.error("E012", message, span, help if len(help) < 120 else "")

    def hyperparameters(
        self, data: dict[str, Any], seen: dict[str, str]
    ) -> Iterator[Hyperparameter]:
        for name, entry in self.entries(data, "hyperparameters", MAX_HYPERPARAMETERS, seen):
            path = ("hyperparameters", name)
            known = ("default", "domain", "usual", "doc", *self.further)
            self.table(entry, path, known, ("default", "doc"))
            domain, domain_text = self.interval(entry, path)
            usual, usual_text = self.interval(entry, path, "usual")
            if not usual_text:
                usual = domain
            elif not domain.covers(usual) and not domain.empty:
                message = f"the usual range of `{short(name)}` leaves its domain `{domain_text}`"
                self.error("E141", message, self.source.value_span((*path, "usual")))
            default = entry.get("default", 0.0)
            span = self.source.value_span((*path, "default"))
            if isinstance(default, bool) or not isinstance(default, int | float):
                message = f"the default of `{short(name)}` must be a number, not {kind_of(default)}"
                help = "numbers are written without quotes" if isinstance(default, str) else ""
                self.error("E150", message, span, help)
                default = 0.0
            elif not finite(default):
                self.error("E150", f"the default of `{short(name)}` must be finite", span)
                default = 0.0
            elif "default" in entry and float(default) not in domain and not domain.empty:
                message = f"the default of `{name}` is outside its domain `{domain_text}`"
                self.error("E141", message, span)
            place = self.source.key_span(path) or Span(1, 1, 2)
            doc = self.text(entry, path, "doc")
            yield Hyperparameter(
                name, float(default), domain, domain_text, usual, usual_text, doc, place
            )

    def options(self, data: dict[str, Any], seen: dict[str, str]) -> Iterator[Option]:
        above: list[Option] = []
        for name, entry in self.entries(data, "options", MAX_OPTIONS, seen):
            path = ("options", name)
            self.table(entry, path, ("default", "doc", "when"), ("default", "doc"))
            default = entry.get("default", False)
            if not isinstance(default, bool):
                what = kind_of(default)
                message = f"the default of option `{short(name)}` must be true or false, not {what}"
                span = self.source.value_span((*path, "default"))
                help = "a number is a hyperparameter" if isinstance(default, int | float) else ""
                self.error("E150", message, span, help)
                default = False
            when, when_text = self.condition(entry, path, above)
            if default and not holds(when, {option.name: option.default for option in above}):
                span = self.source.value_span((*path, "default"))
                message = f"`{name}` is on by default, where its `when` does not hold"
                self.error("E151", message, span, "make its default false")
            place = self.source.key_span(path) or Span(1, 1, 2)
            doc = self.text(entry, path, "doc")
            above.append(Option(name, default, doc, when, when_text, place))
            yield above[-1]

    def states(
        self,
        data: dict[str, Any],
        seen: dict[str, str],
        hyperparameters: tuple[Hyperparameter, ...],
        options: tuple[Option, ...],
    ) -> Iterator[State]:
        defaults = {h.name: h.default for h in hyperparameters}
        for name, entry in self.entries(data, "state", MAX_STATES, seen):
            path = ("state", name)
            known = ("init", "domain", "doc", "when", "scalar", "dtype")
            self.table(entry, path, known, ("init", "doc"))
            domain, domain_text = self.interval(entry, path)
            when, when_text = self.condition(entry, path, options)
            init = self.init(entry, path, defaults)
            place = self.source.key_span(path) or Span(1, 1, 2)
            scalar = self.typed(entry, path, "scalar", bool, False)
            if "init" in entry:
                self.starts_inside(path, init, domain, domain_text, scalar, defaults)
            has_p_type = self.has_p_type(entry, path, scalar)
            doc = self.text(entry, path, "doc")
            yield State(
                name, init, scalar, domain, domain_text, doc, when, when_text, place, has_p_type
            )

    def has_p_type(self, entry: dict[str, Any], path: KeyPath, scalar: bool) -> bool:
        """E154: whether a state is stored in the type of `p`, the only one that can be named."""
        dtype = self.typed(entry, path, "dtype", str, "p")
        span, name = self.source.value_span((*path, "dtype")), short(path[-1])
        if dtype != "p":
            message = f"the type of `{name}` cannot be `{short(dtype)}`"
            help = 'write `dtype = "p"` for the type of the parameter, or leave it out for float32'
            self.error("E154", message, span, f"{help} or float64")
        elif scalar and "dtype" in entry:
            message = f"`{name}` is one float64 number, and has no type of a tensor"
            self.error("E154", message, span, "leave out `dtype`, or `scalar = true`")
        return "dtype" in entry

    def inputs(self, data: dict[str, Any], seen: dict[str, str]) -> Iterator[Input]:
        for name, entry in self.entries(data, "inputs", MAX_INPUTS, seen):
            path = ("inputs", name)
            self.table(entry, path, ("scalar", "domain", "doc"), ("doc",))
            domain, domain_text = self.interval(entry, path)
            scalar = self.typed(entry, path, "scalar", bool, False)
            place = self.source.key_span(path) or Span(1, 1, 2)
            doc = self.text(entry, path, "doc")
            yield Input(name, scalar, domain, domain_text, doc, place)

    def rule(self, data: dict[str, Any]) -> tuple[Statement, ...]:
        table = self.typed(data, (), "rule", dict, {})
        if "rule" not in data or not isinstance(data["rule"], dict):
            return ()
        key = self.subject.key
        self.table(table, ("rule",), (key,), (key,))
        text = self.typed(table, ("rule",), key, str, "")
        if not isinstance(table.get(key), str):
            return ()
        return parse_rule(self.source, ("rule", key), text, self.out)


_SECTIONS = {
    "hyperparameters": "a hyperparameter", "options": "an option", "state": "a state",
    "inputs": "an input",
}  # fmt: skip
_EXAMPLES = {
    "hyperparameters": ("default", "0.9"),
    "options": ("default", "false"),
    "state": ("init", "0"),
    "inputs": ("", ""),
}
