"""Backends: each turns a kernel into the exact set of keys of its template.

A new backend is a module, a template, a column of `stepforge.operations` if none of those that are
there fits, and its record here. All else walks `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from stepforge.backends import c, c_functions, cpu, multi_tensor, numpy, schedules, torch, triton
from stepforge.backends.python import PYTHON
from stepforge.backends.syntax import Syntax
from stepforge.backends.torch_class import class_name
from stepforge.backends.writer import Writer
from stepforge.language.spec import Spec
from stepforge.language.subjects import OPTIMIZER, Subject
from stepforge.lowering.kernel import Kernel

Context = Callable[[Kernel, Writer], Mapping[str, object]]
"""The keys of a template, with what writes values in the language and column of its backend."""


@dataclass(frozen=True, slots=True)
class Exports:
    """What the package of a folder has from every file.

    Attributes:
        name: Its name, of a spec.
        found: Its name, in the text of a file that is there; "" if there is none.
        package: The text of the package's file, with its docstring and the names by module.
    """

    name: Callable[[Spec], str]
    found: Callable[[str], str]
    package: Callable[[str, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A kind of output.

    Attributes:
        name: Its name, which its folder, its template and its view of `show --as` have, too.
        suffix: How the names of its files end.
        syntax: The language of its files.
        column: The column of `operations` that it spells tensors with.
        context: What its template needs, with what writes values in this language and column.
        of_schedules: The same for its template of schedules; None if it has nothing for them.
        doc: One sentence about its folder.
        needs: The backends that it is nothing without: `torch` computes with the files of others,
            and a kernel is verified against its reference.
        libraries: What its files compute with: no folder that is called so must stand in for them.
        modes: Of a backend whose files launch kernels: how these get their numbers, as
            `stepforge.verify.files.generated` says. Others offer plain functions.
        artefact: What its files are for the rungs, such as "numpy", the reference, "kernel", files
            that launch one, "c", or "caller", what calls that. But for the last, their rule may be
            edited; files of others have to be what build writes.
        copied: Files of its folder that are the same for all specs → what they are copied from, in
            the folder of templates.
        made: Files of its folder that are the same for all specs → what their texts are made from,
            and what makes them.
        exports: What its package has from every file; by default nothing.
    """

    name: str
    suffix: str
    syntax: Syntax
    column: str
    context: Context
    doc: str
    of_schedules: Context | None = None
    needs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    artefact: str = ""
    copied: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, tuple[str, Callable[[], str]]] = field(default_factory=dict)
    exports: Exports | None = None

    @property
    def template(self) -> str:
        """The name of its template of optimizers."""
        return self.template_of(OPTIMIZER)

    def template_of(self, subject: Subject) -> str:
        """The name of its template of a kind of spec."""
        folder = "" if subject == OPTIMIZER else f"{subject.name}/"
        return f"{folder}{self.name}{self.suffix}.jinja"

    def context_of(self, subject: Subject) -> Context | None:
        """What makes the keys of that template; None if it has nothing for such specs."""
        return self.context if subject == OPTIMIZER else self.of_schedules

    @property
    def package(self) -> str:
        """The file that makes a package of its folder, or ""."""
        return f"{self.name}/{self.syntax.package}" if self.syntax.package else ""

    def file(self, spec: str) -> str:
        """The file of a spec, in the folder of generated code."""
        return f"{self.name}/{spec}{self.suffix}"


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            name="numpy",
            suffix=".py",
            syntax=PYTHON,
            column="numpy",
            context=numpy.context,
            of_schedules=schedules.function,
            doc="References in plain NumPy: pure functions, for tensors of any float type.",
            libraries=("numpy",),
            artefact="numpy",
        ),
        Backend(
            name="triton",
            suffix=".py",
            syntax=PYTHON,
            column="triton",
            context=triton.context,
            doc="Triton kernels, each of which steps one tensor in place.",
            needs=("numpy",),
            libraries=("triton",),
            modes=("host",),
            artefact="kernel",
        ),
        Backend(
            name="multi_tensor",
            suffix=".py",
            syntax=PYTHON,
            column="triton",
            context=multi_tensor.context,
            doc="Triton kernels, each of which steps any number of tensors in one launch.",
            needs=("numpy",),
            libraries=("numpy", "triton"),
            modes=("host", "device", "scaled"),
            artefact="kernel",
            copied={"_tables.py": "multi_tensor/tables.py"},
        ),
        Backend(
            name="c",
            suffix=".c",
            syntax=c.C,
            column="c",
            context=c.context,
            doc="C, which steps any number of tensors on the CPU in one call.",
            needs=("numpy",),
            artefact="c",
            copied={"_stepforge.c": "c/_stepforge.c", "_stepforge.h": "c/_stepforge.h"},
            made={"_functions.h": ("operations/functions", c_functions.header)},
        ),
        Backend(
            name="cpu",
            suffix=".py",
            syntax=PYTHON,
            column="numpy",
            context=cpu.context,
            doc="Functions that step arrays in place by the C files, compiled on first use.",
            needs=("numpy", "c"),
            libraries=("numpy",),
            artefact="caller",
            copied={"_library.py": "cpu/_library.py", "_tables.py": "cpu/_tables.py"},
        ),
        Backend(
            name="torch",
            suffix=".py",
            syntax=PYTHON,
            column="torch",
            context=torch.context,
            of_schedules=schedules.scheduler,
            doc="Optimizers as drop-in classes of `torch.optim`.",
            needs=("numpy", "multi_tensor", "c", "cpu"),
            libraries=("torch",),
            copied={
                "_arguments.py": "torch/_arguments.py",
                "_checkpoints.py": "torch/_checkpoints.py",
                "_checks.py": "torch/_checks.py",
                "_device.py": "torch/_device.py",
                "_host.py": "torch/_host.py",
                "_inputs.py": "torch/_inputs.py",
                "_jobs.py": "torch/_jobs.py",
                "_numbers.py": "torch/numbers.py",
                "_plans.py": "torch/_plans.py",
                "_runtime.py": "torch/runtime.py",
                "_schedule.py": "torch/schedule.py",
                "_tensors.py": "torch/_tensors.py",
            },
            exports=Exports(class_name, torch.class_in, torch.package),
        ),
    )
}
REFERENCE = "numpy"
"""The backend that all others are compared with."""


def completed(names: Collection[str], subject: Subject = OPTIMIZER) -> tuple[str, ...]:
    """Backends and those that they need, in the order of `BACKENDS`.

    Args:
        names: The backends.
        subject: Of the specs: backends that have nothing for them are left out.
    """
    wanted = {*names, *(needed for name in names for needed in BACKENDS[name].needs)}
    return tuple(name for name in of(subject) if name in wanted)


def of(subject: Subject) -> tuple[str, ...]:
    """The backends that have something for a kind of spec."""
    return tuple(name for name, backend in BACKENDS.items() if backend.context_of(subject))


def shared(names: Collection[str] | None = None) -> dict[str, str]:
    """The files of backends that are the same for all specs → what they come from.

    Args:
        names: The backends; by default all of them.
    """
    return {
        f"{backend.name}/{file}": source
        for backend in BACKENDS.values()
        if names is None or backend.name in names
        for file, source in [
            *backend.copied.items(),
            *((file, made[0]) for file, made in backend.made.items()),
        ]
    }


def verified() -> tuple[Backend, ...]:
    """The backends whose files rungs look at."""
    return tuple(backend for backend in BACKENDS.values() if backend.artefact)
