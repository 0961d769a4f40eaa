"""The table `[torch]`: how the optimizer class looks from outside, and which names have a role."""

from __future__ import annotations

import keyword
from typing import Any

from stepforge.language.diagnostics import Diagnostic, Span, nearest, short
from stepforge.language.names import NAME
from stepforge.language.source import KeyPath, Source
from stepforge.language.spec import ROLES
from stepforge.language.torch_model import (
    TORCH_CLASSES,
    TORCH_SCHEDULERS,
    TORCH_SETTINGS,
    Torch,
)
from stepforge.language.values import Values, kind_of

_KEYS = (
    "class", "signature", "arguments", "state", "constants", "switches", "zero_with", "group",
    "counter", "eager", "roles", "refusals", "later", "sparse", "tensor_betas", "xla",
)  # fmt: skip
_SCHEDULER_KEYS = ("class", "arguments", "constants", "until")


class TorchTable(Values):
    """Reads the table, whose names have to be those of the spec around it."""

    def __init__(
        self, source: Source, out: list[Diagnostic],
        hyperparameters: list[str], options: list[str], states: list[str], inputs: list[str],
    ) -> None:  # fmt: skip
        super().__init__(source, out)
        self.hyperparameters, self.options, self.states = hyperparameters, options, states
        self.inputs = inputs
        self.own: dict[str, Any] = {}

    def read(self, data: dict[str, Any]) -> tuple[dict[str, str], Torch | None]:
        """Who has a role, and the table; None if there is none."""
        self.own = self.typed(data, (), "torch", dict, {})
        given = self.roles()
        others = [n for n in (*self.hyperparameters, *self.options) if n not in given.values()]
        roles = given | {r: n for r, n in ROLES.items() if r not in given and n in others}
        if not self.own:
            return roles, None
        self.table(self.own, ("torch",), _KEYS, ())
        arguments = self.arguments()
        mapped = {part for parts in arguments.values() for part in parts}
        for role, name in given.items():
            if name not in mapped and ROLES[role] not in (*arguments, *others):
                arguments[ROLES[role]] = (name,)
        switches, zero_with = self.pairs("switches"), self.pairs("zero_with")
        constants = self.constants("constants")
        return roles, Torch(
            class_name=self.class_name(),
            arguments=arguments,
            state=self.state(),
            constants=constants,
            switches=switches,
            zero_with=zero_with,
            group=self.constants("group"),
            signature=self.signature(arguments, switches, constants),
            counter=self.typed(self.own, ("torch",), "counter", bool, True),
            eager=self.typed(self.own, ("torch",), "eager", bool, False),
            refusals=self.refusals(),
            later=self.later(),
            sparse=self.text(self.own, ("torch",), "sparse"),
            tensor_betas=self.tensor_betas(arguments),
            xla=self.typed(self.own, ("torch",), "xla", bool, True),
        )

    def class_name(self) -> str:
        """The name of the class, as torch spells it if it is torch's."""
        name = self.typed(self.own, ("torch",), "class", str, "")
        torchs = {known.lower(): known for known in TORCH_CLASSES}.get(name.lower(), name)
        if "class" in self.own and (not NAME.match(name) or keyword.iskeyword(name)):
            message = f"`{short(name)}` is not the name of a class"
            self.error("E161", message, self.source.value_span(("torch", "class")))
        elif name != torchs:
            message = f"torch spells this class `{torchs}`"
            help = f"write `{torchs}`; a class that is not torch's has a name that torch has not"
            self.error("E161", message, self.source.value_span(("torch", "class")), help)
        elif name in TORCH_CLASSES and self.inputs:
            message = f"torch's `{name}` takes no inputs, such as `{self.inputs[0]}`"
            help = "give the class a name that torch has not"
            self.error("E161", message, self.source.value_span(("torch", "class")), help)
        return name

    def roles(self) -> dict[str, str]:
        """The roles that the table gives, each to one hyperparameter or option."""
        path: KeyPath = ("torch", "roles")
        entries = self.table(self.typed(self.own, ("torch",), "roles", dict, {}), path, ROLES, ())
        found: dict[str, str] = {}
        for role, name in ((r, n) for r, n in entries.items() if r in ROLES):
            span = self.source.value_span((*path, role))
            own, others, kind = self.hyperparameters, self.options, "a hyperparameter"
            if role == "maximize":
                own, others, kind = others, own, "an option"
            if isinstance(name, str) and name in others:
                message = f"`{role}` is the role of {kind}, which `{name}` is not"
                self.error("E160", message, span, f"there are {', '.join(own) or 'none'}")
            elif first := next((r for r, n in found.items() if n == name), ""):
                message = f"`{short(name)}` has the role `{first}` already"
                self.error("E160", message, span)
            else:
                self.known((*path, role), name, own, span)
                found[role] = str(name)
        return found

    def arguments(self) -> dict[str, tuple[str, ...]]:
        """Torch's arguments and the names that make them up."""
        candidates = [*self.hyperparameters, *self.options]
        found: dict[str, tuple[str, ...]] = {}
        for key, value in self.names("arguments").items():
            where = ("torch", "arguments", key)
            if isinstance(value, list) and value:
                for index, part in enumerate(value):
                    span = self.source.value_span((*where, str(index)))
                    self.known(where, part, candidates, span)
                found[key] = tuple(str(part) for part in value)
            elif isinstance(value, list):
                span = self.source.value_span(where)
                self.error("E012", f"`{short(key)}` must have at least one name", span)
            else:
                self.known(where, value, candidates, self.source.value_span(where))
                found[key] = (str(value),)
        return found

    def state(self) -> dict[str, str]:
        """The states and their keys in torch, each used once."""
        found = self.names("state")
        first: dict[str, str] = {}
        for key, value in found.items():
            where = ("torch", "state", key)
            self.known(where, key, self.states, self.source.key_span(where))
            span = self.source.value_span(where)
            if not isinstance(value, str) or not NAME.match(value):
                message = f"`{short(key)}` must be the name of one of torch's states"
                self.error("E160", message, span)
            elif value in first:
                message = f"`{short(value)}` is the state of `{first[value]}` already"
                self.error("E160", message, span)
            else:
                first[value] = short(key)
        return found

    def constants(self, key: str) -> dict[str, bool | float]:
        """A table from names in torch to numbers."""
        found = self.names(key)
        for name, value in found.items():
            if not isinstance(value, int | float):
                span = self.source.value_span(("torch", key, name))
                message = f"`{short(name)}` must be a number, true or false, not {kind_of(value)}"
                self.error("E012", message, span)
        return found

    def pairs(self, key: str) -> dict[str, str]:
        """A table from options to hyperparameters."""
        found = self.names(key)
        for option, hyperparameter in found.items():
            where = ("torch", key, option)
            self.known(where, option, self.options, self.source.key_span(where))
            span = self.source.value_span(where)
            self.known(where, hyperparameter, self.hyperparameters, span)
        return found

    def signature(
        self, arguments: dict[str, tuple[str, ...]], switches: dict[str, str],
        constants: dict[str, bool | float],
    ) -> tuple[str, ...]:  # fmt: skip
        """Torch's arguments in order; all those that the rule needs have to be among them."""
        parts = {part for group in arguments.values() for part in group} | switches.keys()
        names = [*self.hyperparameters, *self.options]
        passed = [*arguments, *(name for name in names if name not in parts)]
        for key, given in (("arguments", arguments), ("constants", constants)):
            for name in given:
                wrong = {*arguments.get(name, ())} - {*names}  # which is said already
                if [*passed, *constants].count(name) > 1 and not wrong:
                    message = f"the class would have two arguments `{name}`"
                    self.error("E160", message, self.source.key_span(("torch", key, name)))
        where: KeyPath = ("torch", "signature")
        found = self.typed(self.own, ("torch",), "signature", list, [])
        for index, name in enumerate(found):
            span = self.source.value_span((*where, str(index)))
            self.known(where, name, [*passed, *constants, *TORCH_SETTINGS, "*"], span)
            if name in found[:index]:
                self.error("E160", f"`signature` has `{short(str(name))}` already", span)
        missing = [name for name in passed if name not in found]
        if found and missing:
            message = f"`signature` leaves out `{short(missing[0])}`"
            self.error("E160", message, self.source.value_span(where))
        return tuple(str(name) for name in found)

    def refusals(self) -> dict[str, str]:
        """The errors of options, as lines of text."""
        path: KeyPath = ("torch", "refusals")
        found = self.typed(self.own, ("torch",), "refusals", dict, {})
        for option in found:
            where = (*path, option)
            self.known(where, option, self.options, self.source.key_span(where))
        return {option: self.text(found, path, option) for option in found}

    def later(self) -> tuple[str, ...]:
        """Hyperparameters that torch's class has not had from the first."""
        where: KeyPath = ("torch", "later")
        found = self.typed(self.own, ("torch",), "later", list, [])
        for index, name in enumerate(found):
            span = self.source.value_span((*where, str(index)))
            self.known(where, name, self.hyperparameters, span)
        return tuple(str(name) for name in found)

    def tensor_betas(self, arguments: dict[str, tuple[str, ...]]) -> bool:
        """Whether the two betas may be tensors."""
        found = self.typed(self.own, ("torch",), "tensor_betas", bool, False)
        if found and len(arguments.get("betas", ())) != 2:
            message = "`tensor_betas` needs an argument `betas` of two hyperparameters"
            help = 'write `arguments = { betas = ["beta1", "beta2"] }`'
            self.error("E160", message, self.source.key_span(("torch", "tensor_betas")), help)
        return found

    def names(self, key: str) -> dict[str, Any]:
        """A table whose keys are identifiers."""
        found = self.typed(self.own, ("torch",), key, dict, {})
        for name in found:
            if not NAME.match(name) or keyword.iskeyword(name):
                span = self.source.key_span(("torch", key, name))
                self.error("E160", f"`{short(name)}` is not a name in torch", span)
        return found

    def known(self, path: KeyPath, part: Any, candidates: list[str], span: Span | None) -> None:
        """A name that has to be one of the spec's."""
        if not isinstance(part, str):
            message = f"`{short(path[-1])}` must be a name of this spec, not {kind_of(part)}"
            self.error("E012", message, span)
        elif part not in candidates:
            help = nearest(part, candidates) or f"there are {', '.join(candidates) or 'none'}"
            message = f"`{path[1]}` names `{short(part)}`, which the spec does not have"
            self.error("E160", message, span, help)


class SchedulerTable(TorchTable):
    """Reads the table of a schedule: which scheduler of torch it is, and with which arguments."""

    def read(self, data: dict[str, Any]) -> tuple[dict[str, str], Torch | None]:
        """No roles, and the table; None if there is none."""
        self.own = self.typed(data, (), "torch", dict, {})
        if not self.own:
            return {}, None
        self.table(self.own, ("torch",), _SCHEDULER_KEYS, ("class",))
        name = self.typed(self.own, ("torch",), "class", str, "")
        if "class" in self.own and name not in TORCH_SCHEDULERS:
            message = f"torch has no scheduler `{short(name)}` that is a formula of the step"
            help = nearest(name, TORCH_SCHEDULERS) or f"there are {', '.join(TORCH_SCHEDULERS)}"
            self.error("E161", message, self.source.value_span(("torch", "class")), help)
        until = self.typed(self.own, ("torch",), "until", str, "")
        if until:
            path: KeyPath = ("torch", "until")
            self.known(path, until, self.hyperparameters, self.source.value_span(path))
        arguments, constants = self.arguments(), self.constants("constants")
        return {}, Torch(name, arguments, constants=constants, until=until)
