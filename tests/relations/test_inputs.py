"""Relations of rules with inputs: one side's is the other's of the same name, and nothing else."""

from __future__ import annotations

import numpy as np
from support import numpy_of, small

from stepforge.commands.terminal.relations import as_dict
from stepforge.language.spec import Spec
from stepforge.relations.find import Relation, relate
from stepforge.relations.sides import Side

INPUTS = {"h": 'domain = "h > 0"', "loss": "scalar = true"}


def spec(rule: str, name: str, numbers: tuple[str, ...] = ("lr", "beta"), **inputs: str) -> Spec:
    return small(
        rule, name=name, hyperparameters=numbers, state=("m",), inputs=inputs or INPUTS,
    )  # fmt: skip


AVERAGE = spec("m = beta*m + (1 - beta)*g/h\np = p - lr*loss*m", "average")


def related(a: Spec, b: Spec) -> Relation:
    return relate(Side(a, {}), Side(b, {}))


def test_states_may_be_scaled() -> None:
    total = spec("m = beta*m + (1 - beta)*(2*g)/h\np = p - lr*loss*m/2", "total")
    found = related(AVERAGE, total)
    assert (found.kind, found.status) == ("equal", "PROVED")


def test_inputs_of_other_names_are_other_inputs() -> None:
    other = spec(
        "m = beta*m + (1 - beta)*g/d\np = p - lr*loss*m", "other",
        d='domain = "d > 0"', loss="scalar = true",
    )  # fmt: skip
    assert related(AVERAGE, other).kind == "different"


def test_a_hyperparameter_is_no_input_of_its_name() -> None:
    """Whichever side has it."""
    other = spec("m = loss*m + (1 - loss)*g/h\np = p - lr*w*m", "other", ("lr", "loss"),
                 h="", w="scalar = true")  # fmt: skip
    same = spec("m = loss*m + (1 - loss)*g/h\np = p - w*lr*m", "same", ("lr", "loss"),
                h="", w="scalar = true")  # fmt: skip
    assert related(AVERAGE, other).kind == related(other, AVERAGE).kind == "different"
    assert related(other, same).kind == "equal"


def test_where_they_part_is_shown_with_the_inputs() -> None:
    """The references give what the witness says."""
    squared = spec("m = beta*m + (1 - beta)*g/(h*h)\np = p - lr*loss*m", "squared")
    found = related(AVERAGE, squared)
    assert found.kind == "different"
    apart = as_dict(found)["difference"]
    assert apart["inputs"].keys() == {"h", "loss"}
    assert all(len(values) == apart["step"] for values in apart["inputs"].values())
    for one, result in zip((AVERAGE, squared), apart["results"], strict=True):
        reference, p = numpy_of(one), np.array([apart["p"]])
        state = reference.init(p)
        for t, g in enumerate(apart["gradients"], 1):
            given = {"h": np.array([apart["inputs"]["h"][t - 1]])}
            given["loss"] = apart["inputs"]["loss"][t - 1]
            p, state = reference.step(p, np.array([g]), state, t, **given, **apart["values"])
        assert abs(p[0] - float(result)) <= 1e-5 * abs(p[0])
