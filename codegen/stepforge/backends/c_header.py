"""The header of a shared library of C files: what a program in C or C++ needs to call them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from stepforge.backends import python
from stepforge.backends.c import C, comment, numbers_signature
from stepforge.backends.c_names import CPP_KEYWORDS
from stepforge.language.diagnostics import Diagnostic, SpecError
from stepforge.language.names import stepped_aside
from stepforge.language.spec import Spec
from stepforge.lowering.kernel import Kernel
from stepforge.lowering.lower import lower

MARK = "Made by `stepforge compile`"
"""What the header and the library say of themselves."""
_TAKEN = ("stepforge_step", "stepforge_count", "stepforge_format", "stepforge_made")
_BEGIN = """\
/* {mark}: it belongs to the library beside it. @generated
   clang-format off

   One call of NAME_step makes one step of any number of parameters, in place. It needs

   - rows: for every parameter a struct NAME_row, in which what options leave out is NULL;
   - types: for every pointer of a row, in their order, a byte with the number format of that tensor
     in all rows, 0 where the pointer is NULL. What p is decides what is computed in: double if it
     is float64, else float. Every tensor may have any format; states are best of that type;
   - numbers: what NAME_numbers has written into NAME_NUMBERS doubles for this step. Domains are not
     checked;
   - options: the sum of NAME_OPTION_... that are switched on, the same as for NAME_numbers;
   - threads: how many threads may work, the caller included. The results are the same for every
     number.

   NAME_step returns 0, or -1 where a type is no number format; nothing has been written then.
   Several threads of a program may call it at once, with tensors of their own. */
#ifndef STEPFORGE_LIBRARY_H
#define STEPFORGE_LIBRARY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Number formats of tensors; 16-bit ones are computed in float. */
enum stepforge_format {{
    STEPFORGE_FLOAT32,
    STEPFORGE_FLOAT64,
    STEPFORGE_BFLOAT16,
    STEPFORGE_FLOAT16
}};

/* The pointers of rows have 64 bits. */
typedef char stepforge_needs_64_bits[sizeof(void *) == 8 ? 1 : -1];
"""
_END = """
#ifdef __cplusplus
}
#endif

#endif
"""


class Section(NamedTuple):
    """What a header has of one optimizer.

    Attributes:
        spec: The optimizer.
        names: What it declares.
        text: The text.
    """

    spec: Spec
    names: Sequence[str]
    text: str


def header(specs: Iterable[Spec]) -> str:
    """The text of the header.

    Args:
        specs: The optimizers of the library.

    Raises:
        SpecError: Two of them would declare the same name, or one that the library has itself.
    """
    sections = [_section(spec) for spec in specs]
    seen = dict.fromkeys(_TAKEN, "the library itself")
    wrong = []
    for section in sections:
        for name in section.names:
            if name in seen:
                wrong.append(
                    Diagnostic(
                        "E020", f"`{name}` would be declared twice: by {seen[name]}, too",
                        section.spec.source.path, help="give the spec another name",
                    )
                )  # fmt: skip
            seen[name] = f"`{section.spec.name}`"
    if wrong:
        raise SpecError(wrong)
    return _BEGIN.format(mark=MARK) + "".join(section.text for section in sections) + _END


def _section(spec: Spec) -> Section:
    kernel = lower(C.hidden(spec))
    name = spec.name
    prefix = name.upper()
    options = [f"{prefix}_OPTION_{option.name.upper()}" for option in spec.options]
    counts = [f"{prefix}_TENSORS", f"{prefix}_NUMBERS"]
    constants = [f"{counts[0]} = {len(kernel.tensors)}", f"{counts[1]} = {len(kernel.arguments)}"]
    constants += [f"{option} = {1 << index}" for index, option in enumerate(options)]
    about = comment(f"{spec.title}: {python.sentence(spec.summary)}")
    reference = comment(f"Reference: {spec.reference}")
    lines = [
        "",
        f"/* {about}",
        "",
        f"   {reference} */",
        f"struct {name}_row {{",
        *_members(kernel),
        "};",
        "",
        "enum {",
        *(f"    {line}{',' if line != constants[-1] else ''}" for line in constants),
        "};",
        "",
        f"int {name}_step(const struct {name}_row *rows, int64_t count,",
        "    const unsigned char *types, const double *numbers, unsigned options, int threads);",
        "",
        "/* " + comment(f"The numbers of a step, for `{name}_step`."),
        "",
        *("   " + comment(line, 7) for line in _documented(spec)),
        "*/",
        _prototype(kernel),
        "",
    ]
    names = [f"{name}_row", f"{name}_step", f"{name}_numbers", *counts, *options]
    return Section(spec, names, "\n".join(lines))


def _members(kernel: Kernel) -> Iterator[str]:
    """The pointers of a row, and its number of elements."""
    spec = kernel.spec
    known = {"p": "The parameter.", "g": "Its gradient."}
    known |= {i.name: python.sentence(i.doc) for i in spec.inputs}
    for state in spec.states:
        when = f" Only with `{state.when_text}`." if state.when_text else ""
        of_p = " Of p's format." if state.has_p_type else ""
        begin = " Begins as a copy of p." if state.is_copy else ""
        begin = begin or f" Begins as {python.expression(state.init)}."
        known[state.name] = python.sentence(state.doc) + begin + of_p + when
    taken = {tensor.name for tensor in kernel.tensors} | {"n"}
    for tensor in kernel.tensors:
        pointer = "void *" if tensor.stored else "const void *"
        name = _for_cpp(tensor.name, taken)
        yield f"    /* {comment(known.get(tensor.name, ''), 7)} */"
        yield f"    {pointer}{name};"
    yield "    /* How many elements each of them has. */"
    yield "    int64_t n;"


def _documented(spec: Spec) -> Iterator[str]:
    """What the arguments of the function of numbers are."""
    yield "numbers: Where they are written."
    yield "t: The number of the step, 1 on the first step."
    defaults = {h.name: python.number(h.default) for h in spec.hyperparameters}
    defaults |= {o.name: str(int(o.default)) for o in spec.options}
    documented = python.documentation(spec)
    options = {option.name for option in spec.options}
    for name, text in documented:
        if name not in options:
            yield f"{name}: {text} By default {defaults[name]}."
    for given in spec.inputs:
        if given.scalar:
            yield f"{given.name}: {python.about(given)}"
    for name, text in documented:
        if name in options:
            yield f"{name}: 0 or 1. {text} By default {defaults[name]}."
    for state in spec.states:
        if state.scalar:
            begin = python.expression(state.init)
            yield (
                f"{state.name}_ptr: Updated, so once a step for all parameters. "
                f"{python.sentence(state.doc)} Begins as {begin}."
            )


def _prototype(kernel: Kernel) -> str:
    """The declaration of the function of numbers, with names that C++ allows."""
    before, _, rest = numbers_signature(kernel).partition("(")
    parameters = [" ".join(part.split()) for part in rest.rstrip().rstrip(")").split(",")]
    taken = {part.split(" ")[-1].lstrip("*") for part in parameters}
    found = []
    for part in parameters:
        kind, _, name = part.rpartition(" ")
        bare = name.lstrip("*")
        found.append(f"{kind} {name[: len(name) - len(bare)]}{_for_cpp(bare, taken)}")
    return C.layout(before, found, ";")


def _for_cpp(name: str, taken: set[str]) -> str:
    return stepped_aside(f"{name}_", taken) if name in CPP_KEYWORDS else name
