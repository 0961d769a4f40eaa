"""The lowered program: how it prints, and that its checker finds what is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support import STOCK, lowered, stock

from stepforge.language.diagnostics import GeneratorBug
from stepforge.language.kinds import Kind
from stepforge.lowering.kernel import Argument, Kernel, Let, Stage, Tensor, Value, lets, validate
from stepforge.lowering.lower import lower

P = Value("name", (), Kind.TENSOR, "p")
LR = Value("name", (), Kind.SCALAR, "lr")


def with_stage(kernel: Kernel, *body: Let) -> Kernel:
    return replace(kernel, stages=(Stage(body),))


def test_a_kernel_prints_its_tensors_host_arguments_and_stage() -> None:
    rule = "if keep:\n    b = lr*b + g\nelse:\n    p = p - g\np = p - (1 - lr)*g"
    kernel = lowered(rule, state={"b": 'when = "keep"'}, options=("keep",))
    assert str(kernel).split("\n") == [
        "kernel small",
        "  tensor p: load+store",
        "  tensor g: load",
        "  tensor b: load+store when keep",
        "host (float64)",
        "  one_minus_lr = (sub 1 lr)",
        "  argument lr: real",
        "  argument one_minus_lr: real",
        "stage 0: element",
        "  if keep",
        "    b = (add (mul lr b) g)",
        "  else",
        "    p = (sub p g)",
        "  p = (sub p (mul one_minus_lr g))",
    ]


def test_the_printed_kernel_has_every_assignment_of_the_stage() -> None:
    for name in STOCK:
        kernel = lower(stock(name))
        text = str(kernel)
        for let in lets(kernel.stages[0].body):
            assert f"{let.name} = {let.value}" in text


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            lambda k: with_stage(k, Let("p", Value("add", (P, Value("name", (), Kind.TENSOR, "q")),
                                                   Kind.TENSOR))),
            "`q` in a stage has no value",
        ),
        (
            lambda k: with_stage(
                k, Let("p", Value("mul", (Value("sqrt", (LR,), Kind.SCALAR), P), Kind.TENSOR))
            ),
            "`\\(sqrt lr\\)` is computed on the device",
        ),
        (lambda k: with_stage(k, Let("m", P)), "`p` is stored but never assigned"),
        (
            lambda k: replace(k, tensors=(*k.tensors, Tensor("m", True, True))),
            "`m` is stored but never assigned",
        ),
        (
            lambda k: replace(k, arguments=(*k.arguments, Argument("ghost", False))),
            "argument ghost is never computed",
        ),
        (lambda k: replace(k, arguments=()), "`lr` in a stage has no value"),
    ],
)  # fmt: skip
def test_a_broken_kernel_is_a_bug_of_the_generator(
    broken: Callable[[Kernel], Kernel], message: str
) -> None:
    kernel = lowered("p = p - lr*g")
    validate(kernel)
    with pytest.raises(GeneratorBug, match=message):
        validate(broken(kernel))


def test_values_know_their_names_and_operations() -> None:
    value = lowered("p = p - lr*g").rule[0].value  # type: ignore[union-attr]
    assert list(value.names()) == ["p", "lr", "g"]
    assert [v.op for v in value.operations()] == ["name", "name", "name", "mul", "sub"]
