"""Specs that cannot stand in one folder: their classes or modules would have one name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from stepforge.backends.registry import BACKENDS, shared
from stepforge.language.diagnostics import Diagnostic

EXPORTED = ("Optimizer", "Schedule")
"""What the package of classes has beside the classes of the specs."""
_ANOTHER = "give one of them another `name` and `title`, or another `class` in `[torch]`"


@dataclass(frozen=True, slots=True)
class Member:
    """A spec as a part of the folder.

    Attributes:
        name: Its name, which its modules have.
        shown: Its file, as diagnostics name it.
        class_name: The class of the optimizer, or "" if it has none.
    """

    name: str
    shown: str
    class_name: str = ""


def collisions(new: Iterable[Member], held: Iterable[Member] = ()) -> list[Diagnostic]:
    """What is wrong with the names of specs that are to stand beside each other.

    Modules are compared without regard to case, because some file systems have none.

    Args:
        new: The specs that are built.
        held: Those of which the folder holds files already, and keeps them.
    """
    found: list[Diagnostic] = []
    modules: dict[str, Member] = {}
    classes: dict[str, Member] = {}
    members = [*held, *new]
    for member in members:
        found += _special(member)
        other = modules.setdefault(member.name.lower(), member)
        if other is not member:
            what = f"`{member.name}` and `{other.name}` of {other.shown} are one file"
            reason = "many file systems do not tell upper case from lower case"
            found.append(_error(member, f"{what}: {reason}", "give one of them another name"))
            continue
        other = classes.setdefault(member.class_name, member) if member.class_name else member
        if other is not member:
            what = f"the class `{member.class_name}` is also that of {other.shown}"
            found.append(_error(member, what, _ANOTHER))
    by_name = {member.name: member for member in members}
    found += _modules(members, by_name)
    return found


def _special(member: Member) -> Iterator[Diagnostic]:
    """A name that the folder has already, whatever specs there are."""
    taken = dict.fromkeys(BACKENDS, "a folder of the output")
    taken |= {PurePosixPath(file).stem: "a module of the output" for file in shared()}
    taken |= dict.fromkeys(("__init__", "__pycache__"), "what Python calls files of its own")
    help = f"write `{member.name}_rule`, for example, in the spec and in the name of its file"
    if reason := {k.lower(): v for k, v in taken.items()}.get(member.name.lower()):
        yield Diagnostic("E020", f"`{member.name}` is {reason}", member.shown, help=help)
    elif member.class_name in EXPORTED:
        message = f"the class of `{member.name}` is `{member.class_name}`, a base of all classes"
        yield Diagnostic("E020", message, member.shown, help=_ANOTHER.replace("one of them", "it"))


def _modules(members: list[Member], by_name: Mapping[str, Member]) -> Iterator[Diagnostic]:
    """Classes that are called like the module of another spec: a package has one of them."""
    for member in members:
        other = by_name.get(member.class_name)
        if other is not None and other.name != member.name:
            if other.class_name == member.class_name:
                continue  # two classes of one name: said already
            message = f"the class `{member.class_name}` is called like the module of {other.shown}"
            yield _error(member, message, _ANOTHER)


def _error(member: Member, message: str, help: str) -> Diagnostic:
    return Diagnostic("E019", message, member.shown, help=help)
