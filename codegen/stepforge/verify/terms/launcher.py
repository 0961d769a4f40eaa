"""The launcher of a Triton file as terms: what it passes to the kernel, and how it launches."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepforge.language.names import aside
from stepforge.language.spec import Options, Spec
from stepforge.verify.terms import reference_proof, terms
from stepforge.verify.terms.lifted import Refuted, Unsupported
from stepforge.verify.terms.offsets import SIZE, Offset
from stepforge.verify.terms.source_terms import Call, Programs, Source, Table, Tensor, Value
from stepforge.verify.terms.terms import Term, apply

_FLOATS = {"": "f32", "float64": "f64", "float32": "f32"}
"""The kind in which a float arrives, by the annotation of its parameter."""


Argument = Tensor | Table | Offset | Term


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    Attributes:
        kernel: Name of the kernel function.
        arguments: In the order of its parameters, those that are compiled in left out: a tensor, a
            part of the table, the number of elements, or a number as it arrives in the kernel.
            Tensors that an option set does not have are left out, too.
        constants: Parameters that are compiled in.
        block: Elements of one program.
        num_warps: Of one program.
        fusion: Whether products and sums may be contracted.
        scalars: Scalar states that it stores, in float64.
        line: Where it launches.
    """

    kernel: str
    arguments: tuple[Argument, ...]
    constants: Mapping[str, Any]
    block: int
    num_warps: int
    fusion: bool
    scalars: Mapping[str, Term]
    line: int


def launch(
    source: Source, spec: Spec, options: Options, exact: bool = True, tabular: bool = False,
    mode: str = "host",
) -> Launch:  # fmt: skip
    """Runs `step` of the launcher, or `step_on_device`, on symbols.

    Args:
        source: The file.
        spec: Its spec.
        options: The option set.
        exact: The mode that it is called with.
        tabular: Whether it takes a table of tensors, and of the state the scalars alone.
        mode: One of `generated.MODES`.

    Raises:
        Unsupported: It holds something that cannot be lifted.
        Refuted: It launches no kernel or several, or for other programs than `n` elements need.
    """
    source.launches.clear()
    if mode != "host":
        own = {"exact": exact, "scaled": mode == "scaled", "table": Table(), "rows": Table("rows")}
        given = {**options, **{aside(spec, name): value for name, value in own.items()}}
        source.run("step_on_device", given)
        return _launched(source, {}, spec, options, True)
    state = _state(spec, options)
    if tabular:
        state = {k: v for k, v in state.items() if not isinstance(v, Tensor)}
    before = dict(state)
    given = reference_proof.inputs(spec, options)
    tensors = {name: Tensor(name) for name in spec.given}
    given |= {aside(spec, "table"): Table()} if tabular else tensors
    step = source.functions.get("step")
    keyword = aside(spec, "exact")
    if step is not None and any(a.arg == keyword for a in step.args.kwonlyargs):
        given[keyword] = exact
    source.run("step", {**given, aside(spec, "state"): state})
    for name, value in state.items():
        if name not in before or (isinstance(before[name], Tensor) and value is not before[name]):
            line = source.launches[0].line if source.launches else 0
            raise Refuted(line, f"step replaces `{name}` of the state")
    return _launched(source, state, spec, options, tabular)


def _launched(
    source: Source, state: Mapping[str, Any], spec: Spec, options: Options, tabular: bool
) -> Launch:
    """The one launch, and the scalar states that it leaves, if there is a state."""
    if len(source.launches) != 1:
        raise Refuted(0, f"the step launches {len(source.launches)} kernels, not one")
    call = source.launches[0]
    arguments, constants = _bound(source, call, aside(spec, "ALIGNED"))
    block, warps = constants.get(aside(spec, "BLOCK")), call.keywords.get("num_warps")
    fusion = call.keywords.get("enable_fp_fusion")
    grid = call.grid[0] if isinstance(call.grid, tuple) and len(call.grid) == 1 else None
    if tabular:
        if grid != Table("size") or block != source.globals.get("BLOCK"):
            raise Refuted(call.line, "the grid is not the number of programs of the table")
    elif not isinstance(grid, Programs) or grid.size is not SIZE or grid.block != block:
        raise Refuted(call.line, "the grid is not cdiv(n, BLOCK) programs")
    if not isinstance(block, int) or not isinstance(warps, int) or not isinstance(fusion, bool):
        raise Refuted(call.line, "the launch leaves BLOCK, num_warps or enable_fp_fusion open")
    step = source.functions["step"]
    scalars = {
        s.name: source.number(state[s.name], step).term
        for s in spec.active_states(options)
        if s.scalar and s.name in state
    }
    made = tuple(arguments), constants, block, warps, fusion, scalars
    return Launch(call.kernel, *made, call.line)


def _state(spec: Spec, options: Options) -> dict[str, Any]:
    return {
        s.name: Value(terms.scalar(s.name), weak=True) if s.scalar else Tensor(s.name)
        for s in spec.active_states(options)
    }


SETTINGS = ("num_warps", "enable_fp_fusion")
"""Keywords of a launch that are no parameters of the kernel; Triton knows more of them."""


def _bound(source: Source, call: Call, aligned: str) -> tuple[list[Argument], dict[str, Any]]:
    """The arguments by the parameters that they are bound to."""
    function = source.functions[call.kernel]
    parameters = function.args.args
    given = dict(zip((p.arg for p in parameters), call.arguments, strict=False))
    named = {k: v for k, v in call.keywords.items() if k not in SETTINGS}
    if twice := sorted(set(given) & set(named)):
        raise Refuted(call.line, f"the launch gives `{twice[0]}` of `{call.kernel}` twice")
    given |= named
    if set(given) != {p.arg for p in parameters} or len(call.arguments) > len(parameters):
        odd = sorted(set(given) ^ {p.arg for p in parameters})[:1]
        raise Refuted(call.line, f"the launch and `{call.kernel}` differ in `{''.join(odd)}`")
    arguments: list[Argument] = []
    constants: dict[str, Any] = {}
    for parameter in parameters:
        annotation = parameter.annotation
        written = ast.unparse(annotation).rpartition(".")[2] if annotation else ""
        value = given[parameter.arg]
        if written == "constexpr" or value is None:
            told = _of_table(parameter.arg, aligned)
            if told is not None:
                if value not in (None, told):
                    raise Refuted(call.line, f"`{parameter.arg}` is not what the table says")
            elif isinstance(value, Value | Tensor | Offset | Table):
                raise Refuted(call.line, f"`{parameter.arg}` is compiled in, but changes")
            constants[parameter.arg] = value
        elif isinstance(value, Tensor | Offset | Table):
            arguments.append(value)
        elif written in _FLOATS:
            term = source.number(value, parameter).term
            arguments.append(apply("cvt", term, kind=_FLOATS[written]))
        else:
            raise Unsupported(parameter.lineno, f"a parameter of type {written}")
    return arguments, constants


def _of_table(parameter: str, aligned: str) -> Table | None:
    """What has to be passed for a parameter that is compiled in and follows from the table."""
    if parameter == aligned:
        return Table("aligned")
    return Table("types", parameter.removesuffix("_type")) if parameter.endswith("_type") else None


def findings(
    spec: Spec, launch: Launch, options: Options, exact: bool, warps: int, mode: str = "host"
) -> Iterator[tuple[int, str]]:
    """What is compiled into a kernel or decides how it is compiled, where it is not as it must be.

    Args:
        spec: The spec.
        launch: The launch.
        options: The option set.
        exact: The mode that it was called with.
        warps: Of one program, as it is compiled for verification.
        mode: One of `generated.MODES`.
    """
    wanted: dict[str, Any] = {name.upper(): value for name, value in options.items()}
    own = {"ON_DEVICE": mode != "host", "SCALED": mode == "scaled", "EXACT": exact}
    for name, value in {**wanted, **{aside(spec, k): v for k, v in own.items()}}.items():
        if launch.constants.get(name, value) is not value:
            yield launch.line, f"passes {name}={launch.constants[name]}, not {value}"
    if launch.fusion is exact:
        yield launch.line, f"launches with enable_fp_fusion={launch.fusion}"
    if launch.num_warps != warps:
        yield launch.line, f"launches with num_warps={launch.num_warps}, verified are {warps}"
